"""The channels that the trial agents and their tests use.

Workers make the topics of all channels. For sixty benches on one broker that is a thousand topics
that nobody reads or writes, each with its files and threads' work.
"""

from __future__ import annotations

from schemas.channels import Channel

CHANNELS = (
    Channel.OBSERVATIONS,
    Channel.PACKAGE_INSTALL,
    Channel.INTEL,
    Channel.IOCS,
    Channel.ASSESSMENTS,
    Channel.ALERTS,
    Channel.OPERATOR_ALERTS,
    Channel.DEAD_LETTER,
)
