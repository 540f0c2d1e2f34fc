"""Runs apps: one in this process, several as supervised child processes that die with it."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams import metrics
from streams.apps.instrumentation import start_at_zero
from streams.apps.topology import APPLICATIONS, load_app, preload
from streams.cli.output import plain
from streams.engine.app import run
from streams.engine.crash import EXIT_CRASH, crash
from streams.kafka.awaiting import until_answered
from streams.kafka.client import BrokerUnreachableError
from streams.kafka.topics import ensure_topics
from streams.logs import configure_logs
from streams.parent import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.settings import Settings

log = Logger()

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that ran this long before it crashed restarts without a longer delay."""
POLL_SECONDS = 0.1
EXIT_BROKER_AWAY = 75
"""EX_TEMPFAIL of sysexits: a supervised app could not reach the broker, and is restarted."""
STOP_GRACE_SECONDS = 30.0
"""Grace after the drain time, before a child that does not stop is killed."""


def run_app(
    name: str, settings: Settings, *, http_ports: Sequence[int] = (), supervised: bool = False
) -> int:
    """Run app `name` in this process until it is stopped; return the exit code.

    A mistake of the user is reported in one line; the unexpected is logged with its traceback.

    Args:
        name: The app.
        settings: The checked settings.
        http_ports: The port of health and metrics, then those of the other apps it answers for;
            the port of the settings if there is none.
        supervised: The exit code distinguishes an unavailable broker from other mistakes.
    """
    configure_logs(settings, app=name)
    try:
        if supervised:  # it has run before: an unavailable broker is expected to return
            settings = settings.model_copy(update={"broker_wait_seconds": math.inf})
        parts = load_app(name, settings)
        if name in APPLICATIONS:  # a test may add its own application
            start_at_zero(APPLICATIONS[name])
        return run(
            name, parts.bindings, settings, references=parts.references, http_ports=http_ports
        )
    except TidewatchError as error:
        sys.stderr.write(f"tidewatch: {plain(error.explain())}\n")
        away = supervised and isinstance(error, BrokerUnreachableError)
        return EXIT_BROKER_AWAY if away else error.exit_code
    except Exception as error:  # noqa: BLE001 -- the edge of the process: 70 is restarted
        crash("worker-failed", error, app=name)


def run_worker(agents: Sequence[str], settings: Settings) -> int:
    """Run the apps named in `agents` until asked to stop.

    Args:
        agents: App names, as in `streams.apps.topology.FACTORIES`.
        settings: The checked settings.

    Returns:
        0 when asked to stop; otherwise the exit code of the app that could not continue (2 for a
        mistake that the user must fix).
    """
    if len(agents) == 1:
        return run_app(agents[0], settings)
    preload(agents)
    gc.freeze()  # the children share these pages while no garbage collector writes to them
    return Supervisor(agents, settings).run()


@dataclass
class _Child:
    name: str
    port: int | None
    pid: int = 0
    started: float = 0.0
    backoff: float = FIRST_BACKOFF_SECONDS
    due: float = field(default=0.0)
    """When to start it next, if it is not running (monotonic)."""


class Supervisor:
    """Keeps one child process for each app: crashes are restarted, mistakes stop all."""

    def __init__(self, agents: Sequence[str], settings: Settings) -> None:
        """Plan the children; none is started yet."""
        base = settings.http_port
        self._settings = settings
        self._children = [
            _Child(name, base + number if base else None) for number, name in enumerate(agents)
        ]
        self._stop = False

    def run(self) -> int:
        """Start all, watch them until a signal or a child's mistake, stop all."""
        configure_logs(self._settings, app="supervisor")
        try:
            stopped = asyncio.run(self._ensure_topics())
        except TidewatchError as error:
            sys.stderr.write(f"tidewatch: {plain(error.explain())}\n")
            return error.exit_code
        if stopped:
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        code = 0
        while not self._stop and code == 0:
            for child in self._children:
                if not child.pid and time.monotonic() >= child.due:
                    self._start(child)
            code = self._reap()
            time.sleep(POLL_SECONDS)
        self._stop_all()
        return code

    async def _ensure_topics(self) -> bool:
        """Wait for a broker, and ensure the topics; return whether a signal came first.

        A missing broker is an error at the start; later, wait until it is available again.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await until_answered(partial(ensure_topics, self._settings), self._settings, stop)
        return stop.is_set()

    def _on_signal(self, number: int, frame: object) -> None:
        del number, frame
        self._stop = True

    def _start(self, child: _Child) -> None:
        parent = os.getpid()
        child.started = time.monotonic()
        child.pid = os.fork()
        if child.pid:
            log.info("child-started", child=child.name, pid=child.pid)
            return
        code = EXIT_CRASH
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            end_with_parent(parent)
            code = run_app(
                child.name, self._settings, http_ports=self._ports(child), supervised=True
            )
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _ports(self, child: _Child) -> list[int]:
        """Return a child's port; the first answers probes for all."""
        ports = [other.port for other in self._children if other.port is not None]
        return ports if child is self._children[0] else ports[self._children.index(child) :][:1]

    def _reap(self) -> int:
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            child.pid = 0
            code = os.waitstatus_to_exitcode(status)
            if code in {0, EXIT_CRASH, EXIT_BROKER_AWAY} or code < 0:
                self._plan_restart(child, code)
                continue
            log.error("child-could-not-go-on", child=child.name, exit_code=code)
            return code
        return 0

    @staticmethod
    def _plan_restart(child: _Child, code: int) -> None:
        now = time.monotonic()
        if now - child.started > STEADY_SECONDS:
            child.backoff = FIRST_BACKOFF_SECONDS
        child.due = now + child.backoff
        log.warning(
            "child-restarts", child=child.name, exit_code=code, in_seconds=round(child.backoff, 1)
        )
        metrics.WORKER_RESTARTS.labels(child.name).inc()
        child.backoff = min(child.backoff * 2, MAX_BACKOFF_SECONDS)

    def _stop_all(self) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_seconds + STOP_GRACE_SECONDS
        for child in self._children:
            while child.pid:
                pid, _ = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    child.pid = 0
                elif time.monotonic() > deadline:
                    log.error("child-killed", child=child.name)
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)
                    child.pid = 0
                else:
                    time.sleep(POLL_SECONDS)
