"""The product as tests start it: the installed console script, never the source tree."""

from __future__ import annotations

import sys
from pathlib import Path

TIDEWATCH = str(Path(sys.executable).with_name("tidewatch"))
"""What a user runs; beside the interpreter of the environment that runs the tests."""

BESIDE_OTHERS = {"TIDEWATCH_EMBEDDED_PORT": "0"}
"""Settings for an embedded Kafka that may run beside others."""
