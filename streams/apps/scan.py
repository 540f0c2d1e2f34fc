"""The application for slow work: it fetches, scans in the sandbox and verifies."""

from __future__ import annotations

import os
import time

from agents.checks.artifacts.sandbox.pool import SandboxPool
from agents.checks.artifacts.sandbox.protocol import Limits
from agents.domain.knowledge import MemoryKnowledge
from agents.domain.rules import family_rules
from agents.scan import TURNS, scan_agent
from schemas.channels import Channel
from schemas.scans import ScanRequest
from streams.apps.decoding import value_decoder
from streams.apps.instrumentation import count
from streams.apps.knowledge_topics import knowledge_references
from streams.apps.topology import AppParts
from streams.engine.binding import Binding
from streams.fetch_credentials import open_fetcher
from streams.settings import Settings, operators_trust_roots


def build(settings: Settings) -> AppParts:
    """Return the parts of the application for slow work."""
    family_rules("provenance")
    knowledge = MemoryKnowledge(operators_trust_roots(settings))
    return AppParts(
        bindings=(
            Binding(
                name="scan-requests",
                channels=(Channel.SCAN_REQUESTS,),
                agent=scan_agent(
                    knowledge,
                    open_fetcher(settings),
                    # a process for each turn: a file that comes slowly keeps none from others
                    SandboxPool(
                        max(os.cpu_count() or 1, TURNS),
                        limits=Limits(confined=settings.scan_confined),
                    ),
                    lambda: time.time_ns() // 1_000_000,
                ),
                count=count,
                decode=value_decoder(ScanRequest),
                slow=True,
            ),
        ),
        references=knowledge_references(knowledge, settings),
    )
