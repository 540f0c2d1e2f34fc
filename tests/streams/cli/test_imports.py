"""What a command imports is no garbage, and what is wrong with settings is said before it."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_is_collected_while_a_worker_is_loaded() -> None:
    script = (
        "import gc\n"
        "from streams.cli.worker import _loaded\n"
        "before = gc.get_stats()\n"
        "_loaded(['ledger'])\n"
        "assert gc.isenabled()\n"
        "print(gc.get_stats()[0]['collections'] - before[0]['collections'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    # one is due as soon as it may be; without this there are more than two hundred
    assert int(done.stdout) <= 1


def test_a_misspelt_setting_is_reported_before_the_engine_is_imported() -> None:
    script = (
        "import sys\n"
        "from streams.cli import main\n"
        "code = main(['worker'])\n"
        "print(code, 'faust' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env={"TIDEWATCH_KAFKKA": "127.0.0.1:1"},
    )  # fmt: skip
    assert done.stdout.split() == ["2", "False"]
    assert "TIDEWATCH_KAFKKA" in done.stderr
