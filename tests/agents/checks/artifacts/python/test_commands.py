"""Commands that Python runs are judged by what they do, whichever library runs them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.each import each

_COMMANDS = tomllib.loads((Path(__file__).parents[4] / "data" / "commands.toml").read_text("utf-8"))


def _notebook(source: str) -> str:
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell]})


_RUNNERS = {
    "a function": ("train.py", "import subprocess\ndef f():\n    subprocess.run({}, shell=True)\n"),
    "a script": (
        "run.py",
        "import os\nif __name__ == '__main__':\n    os.system({})\n",
    ),
    "an argument of a shell": (
        "run.py",
        "import subprocess\ndef f():\n    subprocess.check_output(['bash', '-c', {}])\n",
    ),
    "a task": ("tasks.py", "from invoke import task\n@task\ndef a(c):\n    c.run({})\n"),
    "an operator": ("dag.py", "from airflow import DAG\nx.BashOperator(bash_command={})\n"),
}


@each("runner", _RUNNERS)
def test_hostile_commands_are_malicious_whatever_runs_them(runner):
    name, source = _RUNNERS[runner]
    for command in _COMMANDS["hostile"]:
        raw = source.format(repr(command)).encode()
        assert scan_source(name, BytesSource(raw)).verdict is Verdict.MALICIOUS, command


@each("runner", _RUNNERS)
def test_ordinary_commands_of_scripts_are_never_malicious(runner):
    name, source = _RUNNERS[runner]
    for command in _COMMANDS["ordinary"]:
        raw = source.format(repr(command)).encode()
        assert scan_source(name, BytesSource(raw)).verdict is not Verdict.MALICIOUS, command


def test_a_notebook_is_malicious_for_a_hostile_command_alone():
    run = "import subprocess\nsubprocess.check_output(['bash', '-c', {}])\n"
    for kind, hostile in (("hostile", True), ("ordinary", False)):
        for command in _COMMANDS[kind]:
            raw = _notebook(run.format(repr(command))).encode()
            verdict = scan_source("a.ipynb", BytesSource(raw)).verdict
            assert (verdict is Verdict.MALICIOUS) is hostile, command
