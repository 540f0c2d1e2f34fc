"""The logical names of topics."""

from __future__ import annotations

from enum import StrEnum


class Channel(StrEnum):
    """A topic by its meaning; `streams.kafka.topics` gives it a name, a key and a retention."""

    REGISTRY_PUSH = "registry-push"
    PACKAGE_INSTALL = "package-install"
    PIPELINE_RUN = "pipeline-run"
    INTEL = "intel"
    POLICY = "policy"
    DECISIONS = "decisions"
    CONTAINMENT_RESULTS = "containment-results"
    SCAN_REQUESTS = "scan-requests"
    OBSERVATIONS = "observations"
    INCIDENT_UPDATES = "incident-updates"
    IOCS = "iocs"
    HYGIENE = "hygiene"
    ASSESSMENTS = "assessments"
    ALERTS = "alerts"
    ALERTS_ECS = "alerts-ecs"
    IOCS_ECS = "iocs-ecs"
    INCIDENTS = "incidents"
    CONTAINMENT_COMMANDS = "containment-commands"
    CONTAINMENT_PROPOSALS = "containment-proposals"
    HOLDS = "holds"
    CONTAINMENT_AUDIT = "containment-audit"
    INTEL_SHARE = "intel-share"
    OPERATOR_ALERTS = "operator-alerts"
    NOTIFICATIONS = "notifications"
    DEAD_LETTER = "dead-letter"
