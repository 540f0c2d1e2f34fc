"""Every Prometheus metric of Tidewatch, declared and documented here and nowhere else."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Bucket bounds, seconds: from one hop on an idle broker to the longest scan."""

EVENTS_IN = Counter(
    "tidewatch_events_in_total", "Records read and handed to an agent", ["app", "channel"]
)
EVENTS_OUT = Counter(
    "tidewatch_events_out_total", "Records delivered to the broker", ["app", "channel"]
)
DEAD_LETTERS = Counter(
    "tidewatch_dead_letters_total", "Records refused, by reason code", ["app", "channel", "reason"]
)
DEAD_LETTER_LIMITS = Counter(
    "tidewatch_dead_letter_limits_total",
    "Times a topic was almost entirely unreadable; see operator-alerts",
    ["app", "topic"],
)
PAUSED = Gauge(
    "tidewatch_paused_topics",
    "1 for a topic that is paused because nearly all of it was unreadable",
    ["app", "topic"],
)
SPLIT_CHUNKS = Counter(
    "tidewatch_split_chunks_total",
    "Chunks that published too much for one delivery and were processed in parts",
    ["app"],
)
GAPS = Counter(
    "tidewatch_gaps_total",
    "Times records were gone from a topic before they were read; see operator-alerts",
    ["app"],
)
CHUNK_SECONDS = Histogram(
    "tidewatch_chunk_seconds", "Time an agent took for one chunk", ["app"], buckets=SECONDS
)
DELIVERY_SECONDS = Histogram(
    "tidewatch_delivery_seconds",
    "Time from an agent's return until outputs and state were durable on the broker",
    ["app"],
    buckets=SECONDS,
)
LAG_RECORDS = Gauge(
    "tidewatch_committed_lag_records",
    "Records on the broker that are not yet committed",
    ["app", "topic", "partition"],
)
LAG_SECONDS = Gauge(
    "tidewatch_committed_lag_seconds",
    "Age of the oldest record that was read and is not yet committed",
    ["app", "topic", "partition"],
)
COMMITS = Counter("tidewatch_commits_total", "Offset commits that the broker accepted", ["app"])
REBALANCES = Counter("tidewatch_rebalances_total", "Partition assignments received", ["app"])
RECOVERED_ROWS = Counter(
    "tidewatch_recovered_rows_total", "Changelog records applied to local state", ["app"]
)
RECOVERY_SECONDS = Histogram(
    "tidewatch_recovery_seconds", "Time to recover local state", ["app"], buckets=SECONDS
)
STORES_REBUILT = Counter(
    "tidewatch_stores_rebuilt_total",
    "Local stores deleted and rebuilt from the changelog, by reason",
    ["app", "reason"],
)
STATE_REPAIRS = Counter(
    "tidewatch_state_repairs_total",
    "Rows written again because another worker wrote to the changelog late",
    ["app"],
)
TICKS = Counter("tidewatch_ticks_total", "Tick records written", ["app"])
REFERENCE_RECORDS = Gauge(
    "tidewatch_reference_records", "Live records of a compacted topic held in memory", ["channel"]
)
REFERENCE_REFUSED = Counter(
    "tidewatch_reference_refused_total",
    "Records of a compacted topic not held because the bound was reached",
    ["channel"],
)
WORKER_RESTARTS = Counter(
    "tidewatch_worker_restarts_total", "Child processes restarted after a crash", ["app"]
)
EVICTIONS = Counter(
    "tidewatch_evictions_total", "Entries dropped because a bound was reached", ["what"]
)
FINDINGS = Counter(
    "tidewatch_findings_total", "Findings by rule and severity", ["rule", "severity"]
)
ALERT_SECONDS = Histogram(
    "tidewatch_event_to_alert_seconds",
    "Time from an event's broker timestamp to the delivery of its alert",
    ["action"],
    buckets=SECONDS,
)
COMMANDS = Counter(
    "tidewatch_commands_total", "Containment commands issued, by action", ["action", "state"]
)
RESPONDER_ANSWERS = Counter(
    "tidewatch_responder_answers_total",
    "Commands a responder answered: done, refused, failed or waiting; stale ones it skipped",
    ["action", "outcome"],
)
RESPONDER_LAST_COMMAND = Gauge(
    "tidewatch_responder_last_command_seconds",
    "When a responder last saw a command for a tenant it serves, seconds since the epoch",
)
RESPONDER_HELD = Gauge("tidewatch_responder_held", "Commands waiting for others to finish first")
NOTIFICATIONS = Counter(
    "tidewatch_notifications_total",
    "Attempts to deliver a message, by destination: taken, failed, refused; and messages given up",
    ["destination", "outcome"],
)
NOTIFICATIONS_WAITING = Gauge(
    "tidewatch_notifications_waiting", "Messages that a destination has yet to take"
)
NOTIFICATIONS_UNROUTED = Counter(
    "tidewatch_notifications_unrouted_total",
    "Records that no route of the notifier sends",
    ["channel"],
)
NOTIFICATION_LAST = Gauge(
    "tidewatch_notification_last_seconds",
    "When a destination last took a message, seconds since the epoch",
    ["destination"],
)
HTTP_REQUESTS = Counter(
    "tidewatch_http_requests_total",
    "HTTP requests, by route, method and status of the answer; none: the client went away",
    ["app", "route", "method", "status"],
)
HTTP_SECONDS = Histogram(
    "tidewatch_http_request_seconds",
    "Time from a request's headers to its answer",
    ["app", "route"],
    buckets=SECONDS,
)
HTTP_CONNECTIONS = Gauge("tidewatch_http_connections", "Open HTTP connections", ["app"])
HTTP_REFUSED = Counter(
    "tidewatch_http_refused_total",
    "Connections and requests refused before a handler saw them, by reason: connections, "
    "malformed, ambiguous, slow-head, unread-answer",
    ["app", "reason"],
)
GATEWAY_REQUESTS = Counter(
    "tidewatch_gateway_requests_total",
    "Requests of producers, by endpoint: accepted, repeated, refused, unproved, pressed (no room "
    "left), away (the broker did not acknowledge in time), tested (nothing was to be written)",
    ["endpoint", "outcome"],
)
GATEWAY_SECONDS = Histogram(
    "tidewatch_gateway_acknowledged_seconds",
    "Time from a request's last byte until the broker acknowledged its events",
    buckets=SECONDS,
)
ADMISSION_REVIEWS = Counter(
    "tidewatch_admission_reviews_total",
    "Objects that the admission webhook decided on, by the state of their artifacts (fine, "
    "unknown, bad) and whether they were admitted",
    ["outcome", "admitted"],
)
INDEX_FILES = Counter(
    "tidewatch_index_files_total",
    "Files that installers asked the index for: served, refused, absent, or broken (not what the "
    "upstream index says)",
    ["outcome"],
)
INDEX_REFUSALS = Counter(
    "tidewatch_index_refusals_total",
    "Files that installers asked the index for and were refused, by reason: known-bad, blocked, "
    "imitation, age, unverifiable",
    ["reason"],
)
FALSE_POSITIVES = Counter(
    "tidewatch_false_positives_total",
    "Decisions that marked a finding as a false positive, by rule",
    ["rule"],
)
SCANS = Counter("tidewatch_scans_total", "Artifact scans, by outcome", ["outcome"])
SCAN_SECONDS = Histogram(
    "tidewatch_scan_seconds",
    "Time to fetch, scan and verify one push, without the time it waits for its turn",
    ["outcome"],
    buckets=SECONDS,
)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
