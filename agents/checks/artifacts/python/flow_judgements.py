"""Judges what a module does by where its values come from and where they go.

Over 500 lines, since the judgements share what a module imports, calls and fetches.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from agents.checks.artifacts.dangerous_names import modules
from agents.checks.artifacts.python import flows as kinds
from agents.checks.artifacts.python.call_judgements import Call
from agents.checks.artifacts.python.calls import EVAL, NATIVE, RUNS_FILES
from agents.checks.artifacts.python.execution import IMPORTED, MAIN, METHOD
from agents.checks.artifacts.python.fault_log import FaultLog
from agents.checks.artifacts.python.flows import METADATA_HOST, Flows
from agents.checks.artifacts.python.names import SPAWN
from agents.checks.artifacts.python.tree import ModuleTree
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.risk import persists, risk_of
from agents.domain.hosts import is_local
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MAX_MODE: Final = 3
"""Characters of the mode of a file: `wb+`."""
_LEAVES: Final = (
    "environ", "getenv", ".ssh", ".aws", ".kube", ".docker", "netrc", "gcloud", ".gnupg", ".pypirc",
    ".npmrc", ".git", "wallet", "Login Data", "169.254", "metadata.google", "get_token", "HfFolder",
    "credentials", "/etc/passwd", "/etc/shadow", "serviceaccount", "printenv", "'env'", '"env"',
    "ImageGrab", "screenshot", "pynput", "pyperclip", ".env", ".home()", "expanduser", "/home",
    "/proc/", "history", "100.100.100.200", "keyboard",
)  # fmt: skip
"""Texts of which a module that sends secrets has one."""
_PLACES: Final = (
    "rc'", 'rc"', "profile", "authorized_keys", "cron", "systemd", "customize", "site-packages",
    "sitepackages", "USER_SITE", "sysconfig", ".__file__", "pip.conf", "pip.ini", ".git",
    "LaunchAgents",
    "autostart", "huggingface", "/dev/sd", "/dev/nvme", "core_pattern", "release_agent",
    "ld.so.preload",
    "sudoers", "pypirc", "Startup", "/startup", "/etc/passwd", "uv.toml",
)  # fmt: skip
"""Texts of which a module that writes to a place with effects has one."""
_RUNS: Final = (
    "CDLL", "LoadLibrary", "subprocess", "system(", "runpy", "exec", "zipimporter", "popen",
    "spawn",
    "sys.path",
)  # fmt: skip
_FETCHES: Final = (
    "urlretrieve", "hf_hub_download", ".content", "iter_content", "wget", "urlopen", ".read()",
    "snapshot_download",
)  # fmt: skip
_SENDS: Final = late_pattern(
    r"(?i)^(?:post|put|patch|get|head|delete|options|request|urlopen|urlretrieve|send\w*|publish\w*"
    r"|single|multiple|[lr]push\w*|h?m?set(?:ex|nx)?|[xzs]add|insert\w*|replace_one"
    r"|update_one|put_\w+"
    r"|uploa?d?\w*|stor(?:binary|lines)|putfo?|log_\w+|log|set_tags?|init"
    r"|create_(?:commit|issue|gist|file)"
    r"|chat_\w+|files_upload\w*|write\w*|setopt|emit|gethostbyname\w*|getaddrinfo|resolve|query"
    r"|capture_\w+|execute|executemany|index|produce|push\w*|bulk|query|fetch|stream"
    r"|request_encode_body)$"
)
"""Methods of clients that hand on what they are given."""
_LOGS: Final = frozenset((
    "debug", "info", "warning", "warn", "error", "critical", "exception", "log",
))  # fmt: skip
_REMOTE_LOGS: Final = late_pattern(
    r"^logging\.handlers\.(?:HTTP|SysLog|Socket|Datagram|SMTP)Handler$"
)
_KEPT_BY: Final = late_pattern(
    r"(?i)key|token|pass|secret|auth|cert|cred|user|headers|cookies|verify|prox|config|(?:^|_)env|timeout"
    r"|session|known_hosts|cafile|capath|^host$|endpoint"
)
"""Parameters by which a client is given what it logs in with."""
_EVERYWHERE: Final = late_pattern(r"(?i)prox|(?:^|_)env|session|verify|timeout|config")
_TRACKERS: Final = frozenset(("wandb", "mlflow", "sentry_sdk", "comet_ml", "clearml", "neptune"))
_LOOKS_UP: Final = late_pattern(r"^(?:gethostbyname\w*|getaddrinfo|resolve|query)$")
_ASKS: Final = late_pattern(r"(?i)iam|token|credential|identity|user-data|service-accounts")
_HOST: Final = late_pattern(
    r"(?i)\b(?:https?|wss?|ftp|mongodb(?:\+srv)?|rediss?)://(?:[^/@\s]*@)?([\w.-]+)"
)
_CARRIED: Final = late_pattern(
    r"(?i)\b(?:curl|wget|nc|ncat|ssh|scp|ftp|sftp|https?|Invoke-WebRequest)\b"
)
_VENDORS: Final = {
    "hf": "huggingface|^hf\\.", "gh": "github", "aws": "amazonaws|aws", "google": "google",
    "ci": "gitlab", "twine": "pypi|index", "database": "^$", "gemini": "google",
    "actions": "github",
    "npm": "npm", "do": "digitalocean",
}  # fmt: skip
"""Words of the hosts of services whose variables begin with other words."""
LATER: Final = frozenset((
    "submit", "partial", "Thread", "Timer", "run_in_executor", "to_thread", "register", "Process",
    "apply_async", "call_later",
))  # fmt: skip
_OPENS: Final = frozenset(("open", "io.open", "codecs.open", "os.open", "builtins.open"))
_WRITES: Final = late_pattern(r"[wax+]")
_COPIES: Final = late_pattern(r"^(?:shutil\.(?:copy\w*|move)|os\.(?:rename|replace|symlink|link))$")
_REMOVES: Final = late_pattern(
    r"^(?:os\.(?:remove|unlink|rmdir|truncate)|shutil\.rmtree|.*\.unlink)$"
)
_STARTED: Final = late_pattern(
    r"(?i)authorized_keys$|/etc/(?:cron|profile|ld\.so\.preload|sudoers|init\.d|rc\.local|passwd)"
    r"|/var/spool/cron|systemd/(?:system|user)/|LaunchAgents/|Startup[/\\]|/autostart/"
    r"|(?:^|/)\.(?:bashrc|bash_profile|bash_login|bash_logout|zshrc|zshenv|zprofile"
    r"|zlogin|profile)$"
    r"|(?:^|/)(?:site|user)customize\.py$|site-packages.*\.pth$|\.git/hooks/|/git/hooks/"
    r"|(?:^|/)\.?pip/?pip\.(?:conf|ini)$|/etc/pip\.conf|\.config/pip/pip\.conf|(?:^"
    r"|/)\.pypirc$|uv/uv\.toml"
    r"|ipython/profile_default/startup/|/proc/sys/kernel/core_pattern|release_agent$"
)
"""Files that something runs or obeys later."""
_FOREIGN: Final = late_pattern(r"huggingface/(?:hub|modules)/.*\.py$|site-packages/.*\.py$")
"""Code of other packages and models."""
_DISK: Final = late_pattern(r"^(?:/dev/(?:sd[a-z]|nvme\d|vd[a-z]|mmcblk\d)|\\\\\.\\PhysicalDrive)")
_HOSTILE_LINE: Final = late_pattern(
    r"ssh-(?:rsa|ed25519|dss) AAAA|(?:index[-_]url|trusted-host)\s*=\s*(?:http://"
    r"|\S*\d+\.\d+\.\d+\.\d+)"
    r"|index[-_]url\s*=\s*https?://|\b(?:os\.system|subprocess|exec|eval|__import__)\b"
)
_WALLET: Final = late_pattern(
    r"^(?:bc1[a-z0-9]{20,}|[13][a-km-zA-HJ-NP-Z1-9]{25,34}|0x[0-9a-fA-F]{40})$"
)
_ROOTED: Final = late_pattern(r"^/(?:etc|root|var|proc|sys)?/?(?::|$)")
_DOWNLOADS: Final = late_pattern(
    r"^(?:huggingface_hub\.(?:\w+\.)*(?:hf_hub_download|snapshot_download"
    r"|cached_download)|wget\.download"
    r"|urllib\.request\.urlretrieve|gdown\.\w+|modelscope.*download\w*)$"
)
"""Functions that return the path of what they fetched."""


def may_flow(text: str, tree: ModuleTree) -> bool:
    """Return whether values of a module may go where they harm; False for most modules.

    Args:
        text: The source.
        tree: Its tree.
    """
    if ("write" in text or "open(" in text or "copy" in text) and any(
        place in text for place in _PLACES
    ):
        return True
    if "encrypt" in text or "unlink" in text or "os.remove" in text:
        return ".home" in text or "expanduser" in text or "/home" in text
    roots = {alias.name.partition(".")[0] for node in tree.of(ast.Import) for alias in node.names}
    roots |= {(node.module or "").partition(".")[0] for node in tree.of(ast.ImportFrom)}
    if roots & {"docker", "kubernetes", "pyperclip"}:
        return True
    if not (roots & modules("client") or roots & {"logging", "subprocess", "os"}):
        return False
    return any(word in text for word in _LEAVES) or (
        any(word in text for word in _FETCHES) and any(word in text for word in _RUNS)
    )


class FlowJudge:
    """What one module does with its values."""

    def __init__(self, log: FaultLog, tree: ModuleTree, calls: Sequence[Call]) -> None:
        """Follow the values of a module.

        Args:
            log: Where to report.
            tree: The module.
            calls: The calls in it that are placed.
        """
        self._log = log
        self._tree = tree
        self._calls = calls
        self._flows = Flows(tree, log.facts)
        self._clients = modules("client")
        self._remote_log = any(_REMOTE_LOGS.match(call.name) for call in calls)

    def judge(self) -> None:
        """Report what the module sends, writes, runs and removes."""
        for call in self._calls:
            last = call.name.rpartition(".")[2]
            function = call.node.func
            if isinstance(function, ast.Attribute):
                last = function.attr
            self._judge_sent(call, last)
            self._judge_written(call, last)
            if last == "dup2":
                self._judge_handed_over(call)
            if SPAWN.match(call.name):
                self._judge_command(call)
            if _REMOVES.match(call.name) or last == "unlink":
                self._judge_removed(call)
            if last in ("run", "create", "create_container", "create_host_config"):
                self._judge_container(call)
            if last == "copy" and call.name == "pyperclip.copy":
                self._judge_clipboard(call)
            if last.startswith("create_") and "kubernetes" in self._roots:
                self._judge_pod(call)
        self._judge_fetched_files()
        self._judge_ransom()

    @cached_property
    def _roots(self) -> set[str]:
        found = {
            alias.name.partition(".")[0]
            for node in self._tree.of(ast.Import)
            for alias in node.names
        }
        return found | {
            (node.module or "").partition(".")[0] for node in self._tree.of(ast.ImportFrom)
        }

    # secrets that are sent

    def _judge_sent(self, call: Call, last: str) -> None:
        node = call.node
        root = call.name.partition(".")[0]
        if last in LATER:
            handed = [argument for argument in call.arguments if self._is_sending(argument)]
            if not handed:
                return
        elif not (_SENDS.match(last) or root == "xmlrpc" or (self._remote_log and last in _LOGS)):
            return
        if not (
            root in self._clients
            or last in LATER
            or (self._remote_log and last in _LOGS)
            or (
                isinstance(node.func, ast.Attribute)
                and self._flows.kinds(node.func.value) & kinds.CLIENT
            )
        ):
            return
        found, kept = 0, 0
        given: list[tuple[str, ast.expr]] = [("", argument) for argument in node.args]
        given += [(word.arg or "", word.value) for word in node.keywords]
        for name, argument in given:
            kind = self._flows.kinds(argument)
            if name and _KEPT_BY.search(name):
                kept |= kind
                kind &= 0 if _EVERYWHERE.search(name) else kinds.ENVIRONMENT | kinds.CREDENTIAL
                if root in self._clients and name and "key" in name.lower():
                    kind &= kinds.ENVIRONMENT
            found |= kind
        self._report_sent(call, last, root, found)

    def _is_sending(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Name | ast.Attribute):
            return False
        name = self._log.facts.names.dotted(node)
        head, _, last = name.rpartition(".")
        return bool(_SENDS.match(last)) and head.partition(".")[0] in self._clients

    def _report_sent(self, call: Call, last: str, root: str, found: int) -> None:
        host = self._host(call)
        address = call.node.args[0] if call.node.args else None
        for word in call.node.keywords:
            if word.arg == "url":
                address = word.value
        what = ""
        if found & kinds.ENVIRONMENT:
            what = "all variables of the environment"
        elif found & kinds.CREDENTIAL:
            what = "a file of credentials"
        if what and not (host and is_local(host)):
            tracked = root in _TRACKERS
            lesser = Severity.MEDIUM if tracked else Severity.CRITICAL
            severe = not tracked or call.where in (IMPORTED, METHOD)
            self._add(
                "TW-MODEL-CODE-EXFILTRATES",
                f"sends {what} by {call.name or last}",
                call,
                Severity.CRITICAL if severe else Severity.HIGH,
                lesser,
            )
            return
        if (
            found & kinds.METADATA
            and address is not None
            and not (self._flows.kinds(address) & kinds.METADATA)
        ):
            if self._asks_for_credentials:
                self._add(
                    "TW-MODEL-CODE-EXFILTRATES",
                    "sends what the metadata service answered",
                    call,
                    Severity.CRITICAL,
                    Severity.CRITICAL,
                )
            return
        if found & kinds.ACCOUNT and self._goes_elsewhere(call, last, host):
            self._add(
                "TW-MODEL-CODE-EXFILTRATES",
                "sends the token of a service elsewhere",
                call,
                Severity.CRITICAL,
                Severity.CRITICAL,
            )
            return
        observed = found & kinds.OBSERVED and host and not is_local(host)
        if observed or found & kinds.HOME_FILES:
            severe = call.where in (IMPORTED, METHOD)
            self._add(
                "TW-MODEL-CODE-EXFILTRATES",
                "sends what a person types or sees" if observed else "sends the files of a home",
                call,
                Severity.CRITICAL if severe else Severity.HIGH,
                Severity.CRITICAL if call.where == IMPORTED else Severity.MEDIUM,
            )

    @cached_property
    def _asks_for_credentials(self) -> bool:
        return any(
            METADATA_HOST.search(node.value) and _ASKS.search(node.value)
            for node in self._tree.of(ast.Constant)
            if isinstance(node.value, str)
        )

    @cached_property
    def _vendors(self) -> re.Pattern[str]:
        """The pattern of the hosts to which the tokens of this module belong."""
        words = {"hf"} if "huggingface_hub" in self._roots else set()
        for node in self._tree.of(ast.Constant):
            if isinstance(node.value, str) and kinds.is_secret_name(node.value):
                words.add(node.value.lower().partition("_")[0])
        found = [_VENDORS.get(word, re.escape(word)) for word in sorted(words)]
        return re.compile("|".join(found) or "^$", re.IGNORECASE)

    def _goes_elsewhere(self, call: Call, last: str, host: str) -> bool:
        """Return whether a call hands a token to another than the service that it belongs to."""
        if _LOOKS_UP.match(last):
            return any(
                not isinstance(argument, ast.Call | ast.Subscript | ast.Name)
                for argument in call.node.args[:1]
            ) or bool(host)
        return bool(host) and not is_local(host) and not self._vendors.search(host)

    def _host(self, call: Call) -> str:
        """Return the host that a call names, empty if it is not written out."""
        for argument in call.arguments[:3]:
            text = self._flows.path(argument)
            if found := _HOST.search(text):
                return found[1]
        return ""

    def _judge_command(self, call: Call) -> None:
        """Report a program that is given secrets to send, a shell that a connection feeds."""
        found, words = 0, self._log.facts.command(call.node)
        for argument in call.node.args:
            found |= self._flows.kinds(argument)
        if found & kinds.ENVIRONMENT and _CARRIED.search(words):
            self._add(
                "TW-MODEL-CODE-EXFILTRATES", "hands a program the whole environment to send",
                call, Severity.CRITICAL, Severity.CRITICAL,
            )  # fmt: skip
        elif (
            found & kinds.ACCOUNT
            and (host := _HOST.search(words))
            and not is_local(host[1])
            and not self._vendors.search(host[1])
        ):
            self._add(
                    "TW-MODEL-CODE-EXFILTRATES", "sends the token of a service elsewhere",
                    call, Severity.CRITICAL, Severity.CRITICAL,
                )  # fmt: skip
        fed = any(
            word.arg in ("stdin", "stdout", "stderr")
            and self._flows.kinds(word.value) & kinds.SOCKET
            for word in call.node.keywords
        )
        if fed:
            self._add(
                "TW-MODEL-CODE-SPAWN", "connects a socket to a shell",
                call, Severity.CRITICAL, Severity.CRITICAL,
            )  # fmt: skip
        elif found & kinds.RECEIVED:
            shell = call.name.endswith(("system", "popen", "getoutput", "getstatusoutput")) or any(
                word.arg == "shell" for word in call.node.keywords
            )
            self._add(
                "TW-MODEL-CODE-SPAWN", "runs the commands that a connection sends",
                call, Severity.CRITICAL, Severity.CRITICAL if shell else Severity.MEDIUM,
            )  # fmt: skip

    def _judge_handed_over(self, call: Call) -> None:
        if call.node.args and self._flows.kinds(call.node.args[0]) & kinds.SOCKET:
            self._add(
                "TW-MODEL-CODE-SPAWN", "connects a socket to a shell",
                call, Severity.CRITICAL, Severity.CRITICAL,
            )  # fmt: skip

    # files with effects

    def _written(self, call: Call, last: str) -> ast.expr | None:
        """Return the path that a call writes to, None if it writes to none."""
        node = call.node
        if call.name in _OPENS and node.args:
            mode = node.args[1] if len(node.args) > 1 else None
            for word in node.keywords:
                mode = word.value if word.arg == "mode" else mode
            text = self._log.facts.constant(mode)
            return node.args[0] if isinstance(text, str) and _WRITES.search(text) else None
        if not isinstance(node.func, ast.Attribute):
            return None
        if last in ("write_text", "write_bytes"):
            return node.func.value
        if last == "open" and node.args:
            text = self._log.facts.constant(node.args[0])
            plain = isinstance(text, str) and len(text) <= MAX_MODE
            return node.func.value if plain and _WRITES.search(str(text)) else None
        if _COPIES.match(call.name) and len(node.args) > 1:
            return node.args[1]
        return None

    def _judge_written(self, call: Call, last: str) -> None:
        path = self._written(call, last)
        if path is None:
            return
        text = self._flows.path(path).replace("\\", "/")
        place = _STARTED.search(text)
        foreign = _FOREIGN.search(text) if place is None else None
        if _DISK.match(text):
            self._add(
                "TW-MODEL-CODE-SPAWN", f"overwrites the disk {text[:40]!r}",
                call, Severity.CRITICAL, Severity.CRITICAL,
            )  # fmt: skip
        elif place is not None or foreign is not None:
            hostile = self._holds_hostile_lines
            own = call.where in (IMPORTED, METHOD) and not (foreign and call.where == METHOD)
            self._add(
                "TW-MODEL-CODE-HOOKS",
                f"writes {text[-60:]!r}, which runs or is obeyed later",
                call,
                Severity.CRITICAL if own or hostile else Severity.HIGH,
                # a program installs its completions where it is asked to
                Severity.CRITICAL if hostile or call.where == IMPORTED else Severity.LOW,
            )

    @cached_property
    def _holds_hostile_lines(self) -> bool:
        """Return whether the module writes a line that starts what is hidden or fetched."""
        for call in self._calls:
            function = call.node.func
            if not (isinstance(function, ast.Attribute) and function.attr.startswith("write")):
                continue
            for argument in call.node.args[:1]:
                text = self._log.facts.constant(argument)
                shown = text if isinstance(text, str) else (text or b"").decode("latin-1")
                if (
                    _HOSTILE_LINE.search(shown)
                    or risk_of(shown) >= CommandRisk.UNKNOWN_SCRIPT
                    or persists(shown)
                ):
                    return True
        return False

    # fetched programs

    def _fetched(self) -> Iterator[str]:
        """Yield the paths of files, or names of variables, to which the module fetches."""
        for call in self._calls:
            node, last = call.node, call.name.rpartition(".")[2]
            if isinstance(node.func, ast.Attribute):
                last = node.func.attr
            if call.name.endswith("urlretrieve") and len(node.args) > 1:
                yield from self._labels(node.args[1])
            elif last in ("write", "write_bytes") and isinstance(node.func, ast.Attribute):
                if node.args and self._flows.kinds(node.args[0]) & kinds.CLIENT:
                    yield from self._labels(node.func.value)
            elif last == "copyfileobj" and len(node.args) > 1:
                if self._flows.kinds(node.args[0]) & kinds.CLIENT:
                    yield from self._labels(node.args[1])
            elif _DOWNLOADS.match(call.name):
                yield f"<{id(node)}>"

    def _labels(self, node: ast.AST) -> set[str]:
        """Return what identifies a file: its path, and the names and calls that lead to it."""
        found = self._flows.sources(node)
        path = self._flows.path(node)
        return found | ({path} if len(path) > 1 else set())

    def _judge_fetched_files(self) -> None:
        fetched = set(self._fetched())
        if not fetched:
            return
        for call in self._calls:
            name = call.name
            loads = NATIVE.match(name) and name.endswith(("DLL", "LoadLibrary", "dlopen"))
            runs = loads or SPAWN.match(name) or RUNS_FILES.match(name) or EVAL.match(name)
            if not runs and not name.endswith(("sys.path.insert", "sys.path.append")):
                continue
            for argument in call.node.args[-1:] if not runs else call.node.args[:2]:
                if not fetched.isdisjoint(self._items(argument)):
                    self._add(
                        "TW-MODEL-CODE-NATIVE" if loads else "TW-MODEL-CODE-SPAWN",
                        f"runs a file that it fetched by {name}",
                        call,
                        Severity.CRITICAL if call.where in (IMPORTED, METHOD) else Severity.HIGH,
                        Severity.CRITICAL if call.where == IMPORTED else Severity.MEDIUM,
                    )
                    break

    def _items(self, node: ast.expr) -> set[str]:
        found = self._labels(node)
        if isinstance(node, ast.List | ast.Tuple):
            for item in node.elts[:8]:
                found |= self._labels(item)
        text = self._log.facts.constant(node)
        if isinstance(text, str):
            found.update(text.split()[:8])
        return found

    # destruction

    def _judge_removed(self, call: Call) -> None:
        node = call.node
        paths = node.args[:1] or ([node.func.value] if isinstance(node.func, ast.Attribute) else [])
        for path in paths:
            if self._flows.kinds(path) & kinds.HOME_FILES and not self._is_selective:
                self._add(
                    "TW-MODEL-CODE-SPAWN", "removes the files of a home",
                    call, Severity.CRITICAL if call.where != MAIN else Severity.HIGH,
                    Severity.CRITICAL if call.where == IMPORTED else Severity.HIGH,
                )  # fmt: skip

    @cached_property
    def _is_selective(self) -> bool:
        """Return whether the module chooses files by their endings."""
        return any(
            isinstance(call.node.func, ast.Attribute)
            and call.node.func.attr in ("endswith", "startswith", "match", "fnmatch")
            for call in self._calls
        ) or any(True for _ in self._tree.of(ast.Compare))

    def _judge_ransom(self) -> None:
        """Report files of people that are replaced by encrypted ones."""
        encrypts = [
            call
            for call in self._calls
            if isinstance(call.node.func, ast.Attribute)
            and call.node.func.attr in ("write", "write_bytes")
            and any(
                self._flows.kinds(argument) & kinds.ENCRYPTED for argument in call.node.args[:1]
            )
        ]
        if encrypts and any(
            self._flows.kinds(path) & kinds.HOME_FILES
            for call in self._calls
            if (path := self._written(call, self._last(call))) is not None
        ):
            self._add(
                "TW-MODEL-CODE-SPAWN", "encrypts the files of a home",
                encrypts[0], Severity.CRITICAL, Severity.CRITICAL,
            )  # fmt: skip

    def _last(self, call: Call) -> str:
        function = call.node.func
        return function.attr if isinstance(function, ast.Attribute) else call.name

    def _judge_clipboard(self, call: Call) -> None:
        text = self._log.facts.constant(call.node.args[0]) if call.node.args else None
        reads = any(other.name == "pyperclip.paste" for other in self._calls)
        matches = any(other.name.startswith("re.") for other in self._calls)
        if reads and isinstance(text, str) and (_WALLET.match(text) or matches):
            self._add(
                "TW-MODEL-CODE-SPAWN", "replaces what a person copies",
                call, Severity.CRITICAL, Severity.CRITICAL,
            )  # fmt: skip

    # containers

    def _judge_container(self, call: Call) -> None:
        if "docker" not in self._roots:
            return
        for word in call.node.keywords:
            value = word.value
            privileged = word.arg == "privileged" and (
                isinstance(value, ast.Constant) and value.value is True
            )
            host = word.arg in ("pid_mode", "ipc_mode", "userns_mode") and (
                self._log.facts.constant(value) == "host"
            )
            mounted = word.arg in ("volumes", "binds") and any(
                isinstance(key, ast.Constant)
                and isinstance(key.value, str)
                and _ROOTED.match(key.value)
                for key in (
                    value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", ())
                )
            )
            if privileged or host or mounted:
                self._report_escape(call, "starts a container that holds the host")

    def _judge_pod(self, call: Call) -> None:
        for part in ast.walk(call.node):
            if not isinstance(part, ast.Dict):
                continue
            for key, value in zip(part.keys, part.values, strict=True):
                of = key.value if isinstance(key, ast.Constant) else None
                if of in ("hostPID", "privileged", "hostNetwork") and (
                    isinstance(value, ast.Constant) and value.value is True
                ):
                    self._report_escape(call, "starts a pod that holds its node")
                    return

    def _report_escape(self, call: Call, what: str) -> None:
        self._add(
            "TW-MODEL-CODE-SPAWN", what, call,
            Severity.CRITICAL if call.where in (IMPORTED, METHOD) else Severity.HIGH,
            Severity.CRITICAL if call.where == IMPORTED else Severity.MEDIUM,
        )  # fmt: skip

    def _add(
        self, rule: str, what: str, call: Call, severity: Severity, in_program: Severity
    ) -> None:
        hostile = in_program is Severity.CRITICAL
        self._log.add(rule, what, call.line, severity, in_program=in_program, hostile=hostile)
