"""Runs a console: the index and its feeder, the HTTP server, the link that signs in."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.console.app import routes
from streams.console.changing import KafkaChange
from streams.console.config import ConsoleConfig, ConsoleListen
from streams.console.deciding import KafkaDecide
from streams.console.feeding import Feeder
from streams.console.index import Index, IndexInUseError
from streams.console.openid import OpenId
from streams.console.saved_views import SavedViews
from streams.console.sessions import Sessions
from streams.console.signed_in import Services
from streams.console.viewer import Role, Viewer
from streams.http.listening import LOOPBACK
from streams.http.server import HttpServer
from streams.private_files import private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings

log = Logger()

APP: Final = "console"
DRAIN_SECONDS: Final = 3.0
LINK_LOOK_SECONDS: Final = 0.5
LINK: Final = "link"
"""The file with the link that signs this user in, in the console's folder."""


def console_folder(state_dir: Path) -> Path:
    """Return the folder of the console's index and link."""
    return state_dir / "console"


def own_viewer() -> Viewer:
    """Return this machine's user, who has every role, since they can read the state folder."""
    return Viewer(name=f"{getpass.getuser()}@{socket.gethostname()}", role=Role.ADMIN, tenants="*")


def printed_link(state_dir: Path) -> str:
    """Return the link of the console that is running with a state folder.

    Raises:
        TidewatchError: None runs, or the link is another user's.
    """
    path = console_folder(state_dir) / LINK
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise TidewatchError(
            "no console runs here",
            where=str(path),
            remedy="start one with: tidewatch console",
        ) from error


class KafkaConsole:
    """One console on one address, over the topics of a Kafka."""

    def __init__(self, settings: Settings, config: ConsoleConfig) -> None:
        """Bind the address and open the index; nothing is read or answered before `run`.

        Args:
            settings: The broker, the topics and the state folder.
            config: The configuration.

        Raises:
            TidewatchError: The address, a certificate or the folder can't be used.
        """
        folder = console_folder(settings.state_dir)
        self._folder = private_folder(folder)
        self.index = Index(folder, config.index)
        self.feeder = Feeder(settings, self.index)
        self.sessions = Sessions(
            idle_seconds=config.session.idle_seconds, session_seconds=config.session.most_seconds
        )
        self.services = Services(
            config=config,
            index=self.index,
            sessions=self.sessions,
            saved=SavedViews(folder),
            status=self.feeder,
            decide=KafkaDecide(settings),
            change=KafkaChange(settings),
            secure=config.listen.certificate is not None or config.url.startswith("https:"),
        )
        try:
            self._server = HttpServer(
                APP,
                routes(self.services),
                config.listen,
                config.limits,
                drain_seconds=DRAIN_SECONDS,
            )
            self.url = config.url.rstrip("/") or self._server.url
            if config.oidc is not None:
                self.services.openid = OpenId(config.oidc, self.url)
        except TidewatchError:
            self.index.close()
            raise
        self.services.hosts = _hosts(config, self.url)
        self._viewer = own_viewer()
        self.link = ""
        """The last link."""

    def new_link(self) -> str:
        """Return a link that signs this machine's user in, once, and keep it in the folder.

        Where people sign in at a provider it is the console's address, and signs nobody in.
        """
        link = f"{self.url}/"
        if self.services.openid is None:
            link = f"{self.url}/enter?token={self.sessions.new_link(self._viewer)}"
        self.link = link
        write_private(self._folder / LINK, f"{link}\n")
        return link

    async def run(
        self, stop: asyncio.Event, ready: Callable[[str], None] = lambda _link: None
    ) -> None:
        """Answer until `stop` is set; end with the error if the topics can't be read any more.

        Args:
            stop: Ends it.
            ready: Called with the first link, once the address is open.

        Raises:
            TidewatchError: The broker can't be reached, or the index can't be written.
        """
        serving = asyncio.ensure_future(self._server.serve(self.services.stop))
        feeding = asyncio.ensure_future(self.feeder.run(self.services.stop))
        measuring = asyncio.ensure_future(self.feeder.measure())
        linking = asyncio.ensure_future(self._renew_links())
        stopping = asyncio.ensure_future(stop.wait())
        ready(self.new_link())
        try:
            await asyncio.wait({serving, feeding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.services.stop.set()
            for task in (measuring, linking, stopping):
                task.cancel()
            await asyncio.gather(measuring, linking, stopping, return_exceptions=True)
            await serving
            with contextlib.suppress(OSError):
                (self._folder / LINK).unlink(missing_ok=True)
            results = await asyncio.gather(feeding, return_exceptions=True)
            self.index.close()
        if isinstance(results[0], BaseException):
            raise results[0]

    async def _renew_links(self) -> None:
        """Keep a link in the folder that was not used yet."""
        while True:
            await asyncio.sleep(LINK_LOOK_SECONDS)
            if self.services.openid is None and not self.sessions.link_waits():
                await asyncio.to_thread(self.new_link)


async def serve_beside(
    settings: Settings, stop: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Serve a console on loopback within another command, until `stop` is set.

    Args:
        settings: The broker, the topics and the state folder.
        stop: Ends it.
        tell: Called with an unused link, or with the reason why there is no console.
    """
    try:
        console = _on_a_free_port(settings)

        async def show_link() -> None:
            while True:
                tell(f"console: {console.link}")
                await asyncio.sleep(LINK_LOOK_SECONDS)

        link_shown = asyncio.ensure_future(show_link())
        try:
            await console.run(stop)
        finally:
            link_shown.cancel()
            await asyncio.gather(link_shown, return_exceptions=True)
    except TidewatchError as error:
        tell(f"no console: {error.explain()}")


def _on_a_free_port(settings: Settings) -> KafkaConsole:
    """Return a console on its usual port, on another if that is taken."""
    try:
        return KafkaConsole(settings, ConsoleConfig())
    except IndexInUseError:
        raise
    except TidewatchError:
        return KafkaConsole(settings, ConsoleConfig(listen=ConsoleListen(port=0)))


def _hosts(config: ConsoleConfig, url: str) -> frozenset[str]:
    """Return the names under which a console answers."""
    names = {urlsplit(url).hostname or ""}
    if config.listen.host in LOOPBACK:
        names |= LOOPBACK
    return frozenset(filter(None, names))
