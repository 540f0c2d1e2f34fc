"""Follows data through the commands of a shell, to what runs it and to where it is sent.

A command is hostile for what it does with data, however it is spelled: that it runs what it
fetched or decoded, or sends secrets away. Constants are evaluated, so that a command that is put
together of parts is judged as the one that the shell runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agents.checks.shell import file_commands, programs, transfers
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.data import MAX_TEXT, NOTHING, Data, Secrecy, joined
from agents.checks.shell.grammar import (
    ENDS,
    KEYWORDS,
    LOOPS,
    Script,
    SimpleCommand,
    Substitution,
    Variable,
    Word,
    parse,
)
from agents.checks.shell.host import MAX_FILES, MAX_SHOWN, SECRET_NAME, Found, ShellHost
from agents.checks.shell.requests import fetch
from agents.checks.shell.words import (
    constant,
    echoed,
    file_name,
    has,
    operated,
    program_name,
    split_words,
)
from agents.domain.late_pattern import late_pattern

_ENVIRONMENT: Final = "\0environment"
"""Stands for a command that prints the environment."""
_LOOP: Final = "\0loop"
"""Stands for the end of a compound command, which prints what its commands do."""
MAX_COMMANDS: Final = 20_000
"""Commands that are followed within one text."""
MAX_NESTED: Final = 5
"""Scripts within scripts."""
MAX_LOOP: Final = 50
"""Pipelines among which the end of a loop is looked for."""
MAX_ADDED: Final = 1 << 18
"""Characters that the values of variables add to a text in all."""
_CONCERNED: Final = late_pattern(
    r"(?i)\b(?:curl|wget|fetch|https?|lynx|w3m|aria2c|axel|lwp-\w+|nc|ncat|netcat|socat|telnet|openssl|dig|nslookup"
    r"|host|drill|ping|getent|resolvectl|traceroute|scp|rsync|s?ftp|sftp|aws|gsutil|gcloud|az\w*|rclone|mc|s3cmd|s5cmd"
    r"|gh|git|hf|huggingface-cli|eval|source|base(?:64|32)|xxd|rev|tac|printf|tr|[gm]?awk|perl|ruby|lua\w*|php|node"
    r"|python[\d.]*|dd|shred|find|chmod|mail\w*|mutt|sendmail|msmtp|swaks|mosquitto_pub|redis-cli|logger|whois|wormhole"
    r"|croc|ssh|crontab|authorized_keys|pip3?|uv|busybox|hping3|kcat|twine|restic|wandb|xargs)\b"
    r"|\|\s*(?:sudo\s+)?[\w/]*sh\b|/dev/(?:tcp|udp)/|/[\w]*\?[\w?]*/|\$'|\\x[0-9a-f]{2}|\$\{?\w+\}?\$\{?\w"
)
"""Words without which nothing of what follows is found."""
_ASSIGNED: Final = late_pattern(r"([A-Za-z_]\w{0,63})(\+?)=")
_DECLARES: Final = frozenset(
    ("export", "local", "readonly", "declare", "typeset", "set", "ENV", "ARG", "alias")
)
_SOCKET: Final = late_pattern(
    r"(?i)\bsocket\b|TCPSocket|TCPServer|fsockopen|stream_socket_client|\bnet\.(?:connect|Socket|createConnection)|IO::Socket"
    r"|require\s*\(?\s*[\"']net[\"']|TcpClient|/inet/(?:tcp|udp)/\d*/(?!localhost|127\.)|socket_create|Deno\.connect|Socket\("
)
_GIVES_SHELL: Final = late_pattern(
    r"(?i)/bin/\w*sh\b|pty\.spawn|\bdup2\b|cmd\.exe|\bpopen|os\.execute|\bspawn\b|\bsystem\s*[({\"$]|\|&|\bexec\s*[({\"']"
    r"|\$_\s*`|`#\{|\bsubprocess\b|child_process|shell_exec|proc_open|passthru|\biex\b|Deno\.(?:run|SimpleCommand)"
)
DECODES: Final = late_pattern(
    r"(?i)b64decode|fromhex|decode_base64|base64_decode|unpack\s*\(|\bpack\s*\(|atob\(|\.decode\(|str_rot13|strrev|\[::-1\]|chr\("
)
SHELL_OPTION: Final = late_pattern(r"-\w{0,4}c")
_GLUED: Final = late_pattern(r"(-[cer])(?=[^\s\w-]\S|\w{3,20}\W)")


def may_concern(text: str) -> bool:
    """Return whether a text has a word without which no command of it is to be feared."""
    return _CONCERNED.search(text) is not None


def risks_in(text: str) -> Iterator[Found]:
    """Yield the commands of a text that run or send what they should not, with their lines.

    Args:
        text: Commands of a shell, as in a script; may hold other words, which are passed over.
    """
    if not may_concern(text):
        return
    flow = _Flow()
    flow.run(parse(text), NOTHING, 0)
    yield from flow.host.found


class _Flow:
    """Runs the commands of a script in thought, one after the other."""

    def __init__(self) -> None:
        self.host = ShellHost()
        self._commands = MAX_COMMANDS
        self._left = MAX_ADDED
        self._loops: list[Data] = []
        """What the compound commands that are open have printed."""
        self._ended: Data = NOTHING

    def run(self, script: Script, stdin: Data, depth: int) -> Data:
        """Return what a script prints."""
        printed: list[Data] = []
        for index, pipeline in enumerate(script):
            data = stdin
            if _word(pipeline[0], 0) in {"while", "until"} and _word(pipeline[0], 1) == "read":
                data = self._input(_end_of(script, index), stdin, depth)
            for command in pipeline:
                if not self._commands:
                    return joined(printed)
                self._commands -= 1
                data = self._command(command, data, depth)
            if self._loops:
                self._loops[-1] = joined((self._loops[-1], data._replace(text="", literal=False)))
            if len(printed) < MAX_FILES:
                printed.append(data)
        return joined([data for data in printed if data is not NOTHING] or [NOTHING], "\n")

    def _value(self, word: Word, stdin: Data, depth: int) -> Data:
        parts: list[Data] = []
        for part in word.parts:
            if isinstance(part, str):
                parts.append(constant(part))
            elif isinstance(part, Variable):
                parts.append(self._expanded(part))
            else:
                parts.append(self._substituted(part, stdin, depth))
        if not parts:
            return NOTHING
        return joined(parts)

    def _substituted(self, part: Substitution, stdin: Data, depth: int) -> Data:
        if depth > MAX_NESTED:
            return Data(part.text)
        line = self.host.line
        data = self.run(part.script, stdin if part.is_file else NOTHING, depth + 1)
        self.host.line = line
        if part.is_file:
            return data
        text = data.text.strip("\n") if data.literal else part.text
        return data._replace(text=text)

    def _expanded(self, variable: Variable) -> Data:
        name, operation = variable.name, variable.operation
        if name == "IFS":
            return constant(" ")
        if name in {"@", "*"} and not operation:
            return NOTHING
        data = self.host.variables.get(name)
        if data is None:
            if operation.startswith(":-"):
                return constant(operation[2:])._replace(literal=False)
            secrecy = Secrecy.NAMED if SECRET_NAME.search(name) else Secrecy.NONE
            return Data(variable.text, secrecy=secrecy)
        if len(data.text) > self._left:
            return data._replace(text="", literal=False)
        self._left -= len(data.text)
        if operation and data.literal:
            return operated(data, operation)
        return data

    def _command(self, command: SimpleCommand, stdin: Data, depth: int) -> Data:
        self.host.line = command.line if depth == 0 else self.host.line
        stdin = self._input(command, stdin, depth)
        if command.group is not None:
            output = self.run(command.group, stdin, depth + 1)
        else:
            words = [self._value(word, stdin, depth) for word in command.words]
            words = split_words(command.words, words)
            output = self._simple(words, stdin, depth)
        for redirection in command.redirections:
            if redirection.operator in {">", ">>", ">|", "<>"}:
                self.host.write(self._value(redirection.word, stdin, depth), output)
                output = NOTHING
        return output

    def _input(self, command: SimpleCommand, stdin: Data, depth: int) -> Data:
        for redirection in command.redirections:
            operator = redirection.operator
            if operator not in {"<", "<<", "<<<", "<>"}:
                continue
            data = self._value(redirection.word, stdin, depth)
            if operator in {"<", "<>"}:
                is_output = any(
                    isinstance(part, Substitution) and part.is_file
                    for part in redirection.word.parts
                )
                stdin = data if is_output else self.host.content(data)
            else:
                stdin = data
        return stdin

    def _simple(self, words: list[Data], stdin: Data, depth: int) -> Data:
        """Return what a simple command prints."""
        words = self._assigned(words)
        words, stdin = self._started(words, stdin)
        if not words:
            return NOTHING
        first = words[0]
        name = program_name(first.text)
        arguments = words[1:]
        if first.fetched and not first.literal:
            self._execute(first, depth)
        if first.hidden and (
            name in programs.FETCHERS or name in programs.SHELLS or name in programs.CONNECTORS
        ):
            self.host.report(CommandRisk.HOSTILE)
        if name == _ENVIRONMENT:
            return Data(secrecy=Secrecy.TAKEN)
        self._nested(arguments, name, depth)
        return self._act(name, first, arguments, stdin, depth)

    def _assigned(self, words: list[Data]) -> list[Data]:
        """Note what the words before a command set, and return the command."""
        while words and words[0].text in KEYWORDS:
            if words[0].text in LOOPS and len(self._loops) < MAX_FILES:
                self._loops.append(NOTHING)
            if words[0].text in ENDS:
                self._ended = self._loops.pop() if self._loops else NOTHING
                return [constant(_LOOP), *words[1:]]
            words = words[1:]
        if words and words[0].text == "esac":
            return words[1:]
        declares = bool(words) and words[0].text in _DECLARES
        if words and words[0].text == "for" and len(words) > 3 and words[2].text == "in":  # noqa: PLR2004 -- for NAME in WORD
            self._loops.append(NOTHING)
            self.host.set(words[1].text, joined(words[3:], " ")._replace(literal=len(words) == 4))  # noqa: PLR2004 -- one word
            return []
        rest = words[1:] if declares else words
        while rest and (match := _ASSIGNED.match(rest[0].text)):
            value = rest[0]._replace(text=rest[0].text[match.end() :])
            if match[2]:
                value = joined((self.host.variables.get(match[1], NOTHING), value))
            self.host.set(match[1], value)
            rest = rest[1:]
        if not declares:
            return rest
        printed = words[0].text in {"export", "declare", "typeset"} and all(
            word.text in {"-p", "-x", "-px"} for word in words[1:]
        )
        if printed or (words[0].text == "set" and len(words) == 1):
            return [constant(_ENVIRONMENT)]
        return []

    def _started(self, words: list[Data], stdin: Data) -> tuple[list[Data], Data]:
        """Return the program that others start, with what it reads."""
        while words:
            text = words[0].text
            name = program_name(text)
            if name not in programs.PREFIXES:
                bare = text.lstrip("@-!%")
                if bare == text:
                    return words, stdin
                words = [words[0]._replace(text=bare), *words[1:]] if bare else words[1:]
                continue
            rest = words[1:]
            while rest and (
                rest[0].text.startswith("-")
                or _ASSIGNED.match(rest[0].text)
                or (
                    name in {"timeout", "chroot", "flock", "nice", "retry", "watch"}
                    and re.match(r"[\d./$]", rest[0].text)
                    and len(rest) > 1
                )
            ):
                for part in rest[:1] if _ASSIGNED.match(rest[0].text) else ():
                    self._assigned([part])
                alone = (
                    rest[0].text in {"-u", "-I", "-n", "-g", "-C", "-c", "-P", "-d", "-L"}
                    and len(rest) > 1
                )
                if name == "script" and rest[0].text == "-c":
                    alone = False
                rest = rest[2 if alone else 1 :]
            if name == "env" and not rest:
                return [constant(_ENVIRONMENT)], stdin
            if name in {"xargs", "parallel"}:
                rest = [*rest, stdin]
            words = rest
        return words, stdin

    def _nested(self, arguments: list[Data], name: str, depth: int) -> None:
        """Judge the commands that are given to a shell among a program's arguments."""
        if name in programs.SHELLS:
            return
        for number, argument in enumerate(arguments[:-2] if len(arguments) > 2 else ()):  # noqa: PLR2004 -- sh -c TEXT
            if program_name(argument.text) in programs.SHELLS and SHELL_OPTION.fullmatch(
                arguments[number + 1].text
            ):
                self._execute(arguments[number + 2], depth)

    def _act(self, name: str, first: Data, arguments: list[Data], stdin: Data, depth: int) -> Data:
        if name == _LOOP:
            return self._ended
        if name in programs.SHELLS:
            return self._shell(arguments, stdin, depth)
        if name in {"eval", "iex", "Invoke-Expression"}:
            self._execute(joined(arguments, " "), depth)
            return stdin
        if name in {"source", "."}:
            self._run_file(arguments, depth)
            return NOTHING
        if name in programs.INTERPRETERS or name.startswith("python"):
            return self._interpret(arguments, stdin, depth)
        if name in {"awk", "gawk", "mawk", "nawk"} and any(
            gives_shell(word.text) for word in arguments
        ):
            self.host.report(CommandRisk.HOSTILE)
        if name in {"echo", "printf"}:
            return echoed(name, arguments)
        if name in {"printenv", "compgen"}:
            return self._environment(arguments)
        if name == "read":
            for word in arguments:
                if not word.text.startswith("-"):
                    self.host.set(word.text, stdin._replace(text="", literal=False))
            return NOTHING
        if name in {"whoami", "id"}:
            return Data(personal=True)
        if transfers.is_token(name, arguments):
            return Data(secrecy=Secrecy.ISSUED)
        if name in programs.FETCHERS and name not in {"ftp", "tftp"}:
            return fetch(self.host, name, arguments, stdin)
        if name in programs.CONNECTORS or (name == "openssl" and has(arguments, "s_client")):
            return transfers.connect(self.host, arguments, stdin)
        if name in programs.RESOLVERS:
            return transfers.resolve(self.host, arguments, stdin)
        if name in programs.REMOTE_COPIERS or name == "sftp":
            return transfers.copy_remote(self.host, name, arguments, stdin)
        if name == "ssh":
            return transfers.ssh(self.host, arguments, stdin)
        if name in programs.MAILERS:
            return transfers.mail(self.host, arguments, stdin)
        if name == "git":
            return transfers.git(self.host, arguments)
        if name in programs.STORES:
            output = transfers.store(self.host, arguments, stdin)
            if name not in programs.INSTALLERS:
                return output
        if name in programs.INSTALLERS:
            transfers.install(self.host, arguments)
        if name in {"cd", "pushd"}:
            self.host.folder = (
                self.host.files.get(file_name(arguments[0].text), self.host.folder)
                if arguments
                else NOTHING
            )
            return NOTHING
        if name == "crontab":
            self.host.plant(
                "crontab", stdin if has(arguments, "-") else self.host.contents(arguments)
            )
            return NOTHING
        if name == "chmod":
            file_commands.change_mode(self.host, arguments)
            return NOTHING
        if name in {"dd", "shred"}:
            file_commands.overwrite(self.host, name, arguments)
        if name == "find":
            file_commands.find(self.host, arguments)
        if name in programs.COPIERS:
            return file_commands.copy(self.host, arguments)
        if name == "tee":
            for word in arguments:
                if not word.text.startswith("-"):
                    self.host.write(word, stdin)
            return stdin
        self._run_here(first, name, depth)
        return file_commands.print_files(self.host, name, arguments, stdin)

    def _execute(self, data: Data, depth: int) -> None:
        """Judge a text that a shell runs."""
        if data.hidden and (data.fetched or data.literal):
            self.host.report(CommandRisk.HOSTILE)
        elif data.fetched and not (data.saved and data.fetched <= CommandRisk.UNKNOWN_SCRIPT):
            self.host.report(data.fetched)
        if (
            data.literal
            and data.text.strip()
            and depth < MAX_NESTED
            and len(data.text) <= self._left
        ) or (
            not data.literal and data.text and depth < MAX_NESTED and len(data.text) <= self._left
        ):
            self._left -= len(data.text)
            self.run(parse(data.text), NOTHING, depth + 1)

    def _shell(self, arguments: list[Data], stdin: Data, depth: int) -> Data:
        for number, word in enumerate(arguments):
            if SHELL_OPTION.fullmatch(word.text) and number + 1 < len(arguments):
                self._execute(arguments[number + 1], depth)
                return stdin
        if any(not word.text.startswith("-") or word.fetched for word in arguments) and not has(
            arguments, "-s"
        ):
            self._run_file(arguments, depth)
        else:
            self._execute(stdin, depth)
        return NOTHING

    def _run_file(self, arguments: list[Data], depth: int) -> None:
        for word in arguments:
            if word.fetched or word.hidden:  # the output of a command, named as a file
                self._execute(word, depth)
                return
            if not word.text.startswith("-") or word.text.startswith("/dev/"):
                self._execute(self.host.program_file(word.text), depth)
                return

    def _run_here(self, first: Data, name: str, depth: int) -> None:
        if "/" in first.text or file_name(first.text) in self.host.files:
            self._execute(self.host.program_file(first.text), depth)
        elif name in programs.BUILDERS:
            self._execute(self.host.folder._replace(text="", literal=False), depth)

    def _interpret(self, arguments: list[Data], stdin: Data, depth: int) -> Data:
        for number, word in enumerate(arguments):
            if glued := _GLUED.match(word.text):
                arguments = [
                    *arguments[:number],
                    constant(glued[1]),
                    word._replace(text=word.text[2:]),
                ]
            if arguments[number].text in programs.PROGRAM_OPTIONS and number + 1 < len(arguments):
                program = arguments[number + 1]
                if gives_shell(program.text):
                    self.host.report(CommandRisk.HOSTILE)
                if program.fetched or (program.hidden and program.literal):
                    self._execute(program._replace(text=""), depth)
                hidden = DECODES.search(program.text[:MAX_SHOWN]) is not None
                return stdin._replace(text="", literal=hidden, hidden=hidden)
            if word.text == "-m":
                return Data(secrecy=stdin.secrecy)
        files = [word for word in arguments if word.text == "-" or not word.text.startswith("-")]
        if files and files[0].text != "-":
            target = files[0]
            data = (
                target if target.fetched or target.hidden else self.host.program_file(target.text)
            )
            self._execute(data._replace(text=""), depth)
        elif stdin.fetched or stdin.hidden:
            self._execute(stdin._replace(text=""), depth)
        elif gives_shell(stdin.text):
            self.host.report(CommandRisk.HOSTILE)
        return Data(secrecy=Secrecy.NONE)

    def _environment(self, arguments: list[Data]) -> Data:
        names = [word.text for word in arguments if not word.text.startswith("-")]
        if not names:
            return Data(secrecy=Secrecy.TAKEN)
        secret = any(SECRET_NAME.search(name) for name in names)
        return Data(secrecy=Secrecy.NAMED if secret else Secrecy.NONE)


def gives_shell(text: str) -> bool:
    """Return whether a program of one line joins a shell to a host."""
    shown = text[:MAX_TEXT]
    return _SOCKET.search(shown) is not None and _GIVES_SHELL.search(shown) is not None


def _word(command: SimpleCommand, index: int) -> str:
    """Return a word that is written out; empty if there is none."""
    parts = command.words[index].parts if index < len(command.words) else ()
    return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else ""


def _end_of(script: Script, begin: int) -> SimpleCommand:
    """Return the command that ends a loop, whose redirections are those of the loop."""
    level = 0
    for pipeline in script[begin : begin + MAX_LOOP]:
        for command in pipeline:
            first = _word(command, 0)
            level += (first in {"while", "until", "for"}) - (first == "done")
            if not level:
                return command
    return script[begin][0]
