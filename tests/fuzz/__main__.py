"""`python -m tests.fuzz [SECONDS] [NAME …]` fuzzes every parser; see `every_parser`."""

from __future__ import annotations

import sys

from tests.fuzz.every_parser import main

if __name__ == "__main__":
    sys.exit(main())
