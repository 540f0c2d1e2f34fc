"""Keeps what the commands of a script have set, saved and sent so far, and what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from agents.checks.artifacts.python.shell_commands import holds_credentials
from agents.checks.shell.addresses import NUMERIC, URL, risk_of_host
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.data import NOTHING, Data, Secrecy, joined
from agents.checks.shell.words import file_name
from agents.domain.hosts import is_local, read_address, registered
from agents.domain.late_pattern import late_pattern

MAX_VARIABLES: Final = 400
MAX_FILES: Final = 200
MAX_SHOWN: Final = 4096
"""Characters of a command's arguments that are searched for addresses and programs."""
SECRET_NAME: Final = late_pattern(
    r"(?i)(?:^|_)(?:token|secret|passw(?:or)?d|pwd|api_?key|access_?key|secret_?key|private_?key|credentials?|pat|auth_?key)$"
)
_NOT_PRIVATE: Final = late_pattern(
    r"\.pub\b|known_hosts|\.ssh/config\b|authorized_keys|\.aws/config\b"
)
_METADATA_HOST: Final = late_pattern(r"169\.254\.(?:169\.254|170\.2)|metadata\.google\.internal")
_ISSUERS: Final = frozenset(
    ("googleapis.com", "google.com", "amazonaws.com", "azure.com", "azure.net", "windows.net",
    "azurecr.io", "microsoftonline.com", "microsoft.com", "github.com",
    "githubusercontent.com", "gitlab.com", "docker.io", "docker.com", "quay.io", "ghcr.io",
    "huggingface.co", "hf.co", "vault.azure.net", "run.app", "pkg.dev", "gcr.io",
    "anaconda.org", "databricks.com", "openai.com")
)  # fmt: skip
"""Domains of services whose own tokens are sent to them."""
KEYS_OF_USERS: Final = late_pattern(r"https://(?:github\.com|gitlab\.com|launchpad\.net)/\S{1,80}")
STARTED: Final = late_pattern(
    r"(?i)authorized_keys|(?:^|/)\.(?:bashrc|bash_profile|bash_login|bash_logout|zshrc|zshenv|zprofile|profile)$"
    r"|/etc/(?:cron|profile|rc\.local|ld\.so\.preload|init\.d|sudoers|bash\.bashrc|environment)|/var/spool/cron"
    r"|systemd/(?:system|user)/|LaunchAgents|\.git/hooks/|\.githooks/|(?:site|user)customize\.py|/etc/update-motd\.d"
    r"|\.pth$|autostart/|\.config/fish/config"
)
"""Files that are run at a start, a log-in, a commit, or that let somebody in."""
DISK: Final = late_pattern(
    r"(?:of=)?/dev/(?:sd[a-z]|nvme\d+n\d+|vd[a-z]|xvd[a-z]|hd[a-z]|disk\d+|mmcblk\d+)$"
)
_AUTHORISES: Final = late_pattern(r"(?i)(?:proxy-)?authorization:|[\w-]{0,40}(?:token|key|auth):")
"""A header by which a service knows who asks."""


class Found(NamedTuple):
    """A command that is to be feared."""

    line: int
    risk: CommandRisk


class ShellHost:
    """What the commands so far have set, saved and done on the host that runs them."""

    def __init__(self) -> None:
        """Start with nothing set."""
        self.found: list[Found] = []
        self.variables: dict[str, Data] = {}
        self.files: dict[str, Data] = {}
        self.shells: set[str] = set()
        """Files that are copies of a shell."""
        self.folder = NOTHING
        """What the current folder was fetched from."""
        self.line = 1

    def report(self, risk: CommandRisk) -> None:
        """Note that the command at hand is to be feared."""
        if risk > CommandRisk.NONE:
            self.found.append(Found(self.line, risk))

    def content(self, path: Data) -> Data:
        """Return what a file holds, of which only the path is known."""
        text = path.text
        if re.match(r"/dev/(?:tcp|udp)/", text):
            return Data(fetched=risk_of_host(text.split("/")[3] if text.count("/") > 2 else ""))  # noqa: PLR2004 -- /dev/tcp/HOST
        if found := self.files.get(file_name(text)):
            return found
        if path.secrecy is Secrecy.TAKEN or is_private(text):
            return Data(secrecy=Secrecy.TAKEN)
        return Data()

    def write(self, path: Data, data: Data) -> None:
        """Note what is written to a file."""
        text = path.text
        if re.match(r"/dev/(?:tcp|udp)/", text):
            self.send(data, text.split("/")[3] if text.count("/") > 2 else "", connected=True)  # noqa: PLR2004 -- the same
        elif text.startswith("/dev/"):
            if (
                DISK.match(text)
                and data.fetched is CommandRisk.NONE
                and data is not NOTHING
                and not data.text
            ):
                self.report(CommandRisk.HOSTILE)
        elif STARTED.search(text):
            self.plant(text, data)
        elif len(self.files) < MAX_FILES and (name := file_name(text)):
            held = self.files.get(name, NOTHING)
            self.files[name] = joined((held, data))._replace(
                text=data.text, literal=data.literal, saved=True
            )

    def plant(self, path: str, data: Data) -> None:
        """Judge what is written to a file that is run by itself, or that lets somebody in."""
        if data.hidden or data.fetched >= CommandRisk.REPLACEABLE_SCRIPT:
            self.report(CommandRisk.HOSTILE)
        elif data.fetched is CommandRisk.UNKNOWN_SCRIPT and not KEYS_OF_USERS.search(data.text):
            lets_in = "authorized_keys" in path and not data.saved
            self.report(CommandRisk.HOSTILE if lets_in else CommandRisk.UNKNOWN_SCRIPT)

    def set(self, name: str, value: Data) -> None:
        """Set a variable."""
        if len(self.variables) < MAX_VARIABLES:
            if value.secrecy < Secrecy.NAMED and not value.literal and SECRET_NAME.search(name):
                value = value._replace(secrecy=Secrecy.NAMED)
            self.variables[name] = value

    def program_file(self, path: str) -> Data:
        """Return what a file that is run holds, or what its folder was fetched from."""
        if path.startswith(("/dev/tcp/", "/dev/udp/")):
            return self.content(Data(path))
        if found := self.files.get(file_name(path)):
            return found
        folder, slash, _ = path.rpartition("/")
        if slash and (
            found := self.files.get(
                file_name(folder.split("/", 1)[0] if not folder.startswith(("/", ".")) else folder)
            )
        ):
            return found._replace(text="", literal=False)
        if not path.startswith(("/", "~", "$")):
            return self.folder._replace(text="", literal=False)
        return NOTHING

    def send(
        self,
        data: Data,
        address: str,
        *,
        in_header: bool = False,
        in_address: bool = False,
        connected: bool = False,
    ) -> None:
        """Judge that data goes to a host."""
        secrecy = data.secrecy
        if secrecy is Secrecy.NONE:
            return
        found = URL.search(address[:MAX_SHOWN])
        host = (
            read_address(found[0] if "://" in found[0] else f"https://{found[0]}").host
            if found
            else ""
        )
        host = host or (address.split(":", maxsplit=1)[0] if connected else "")
        if host and (is_local(host) or _METADATA_HOST.fullmatch(host)):
            return
        numeric = NUMERIC.fullmatch(host) is not None
        issuer = registered(host) in _ISSUERS if host and "$" not in host else not host
        if secrecy is Secrecy.TAKEN:
            if in_header and (issuer or "$" in address or _AUTHORISES.match(data.text)):
                return
            self.report(CommandRisk.HOSTILE)
        elif secrecy is Secrecy.ISSUED:
            if numeric or connected or not (issuer or in_header or in_address):
                self.report(CommandRisk.HOSTILE)
        elif not in_header and (numeric or connected or (data.encoded and not issuer)):
            self.report(CommandRisk.HOSTILE)

    def contents(self, paths: Iterable[Data]) -> Data:
        """Return what files hold together."""
        held = []
        for word in paths:
            text = re.sub(r"^[\w-]{0,64}[=@]+|^(?:file|fileb)://", "", word.text)
            held.append(word if word.secrecy or word.fetched else self.content(Data(text)))
        return joined(held)._replace(text="", literal=False) if held else NOTHING


def is_private(path: str) -> bool:
    """Return whether a path leads to secrets of a user, not to what anyone may know."""
    return holds_credentials(path) and _NOT_PRIVATE.search(path) is None and " " not in path.strip()
