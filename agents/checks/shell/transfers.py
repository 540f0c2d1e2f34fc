"""Judges programs that join a host, copy to it, ask it, mail it or store with it."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.shell import programs
from agents.checks.shell.addresses import NUMERIC, URL, risk_of_address
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.data import NOTHING, Data, Secrecy, joined
from agents.checks.shell.host import MAX_FILES, MAX_SHOWN, ShellHost, is_private
from agents.checks.shell.words import file_name, operands_of, program_name
from agents.domain.hosts import is_local, read_address, registered

_RESOLVED: Final = frozenset(("TXT", "txt"))


def connect(host: ShellHost, arguments: list[Data], stdin: Data) -> Data:
    """Judge what is sent over a connection, and return what comes back."""
    named = [word.text for word in arguments if not word.text.startswith("-")]
    named = [text for text in named if text != "s_client"]
    to = named[0].partition(":")[0] if named else ""
    host.send(joined((stdin, *arguments)), to, connected=True)
    local = bool(to) and is_local(to)
    scans = any(re.match(r"-\w*z", word.text) for word in arguments)
    if scans or local:
        return NOTHING
    return Data(fetched=CommandRisk.HOSTILE)


def resolve(host: ShellHost, arguments: list[Data], stdin: Data) -> Data:
    """Judge the names that are asked for, and return what the answers hold."""
    for word in (*arguments, stdin):
        name = word.text.rstrip(".")
        if (
            word.secrecy >= Secrecy.NAMED
            or (word.encoded and "." in name)
            or (word.personal and re.search(r"[)`]\.[\w.-]+\.[a-z]{2,24}$", name))
        ):
            host.report(CommandRisk.HOSTILE)
    asks = any(
        word.text in _RESOLVED or word.text.lower() in {"-type=txt", "-q=txt", "-t=txt"}
        for word in arguments
    )
    return Data(fetched=CommandRisk.HOSTILE if asks else CommandRisk.NONE)


def copy_remote(host: ShellHost, name: str, arguments: list[Data], stdin: Data) -> Data:
    """Judge what is copied to a host, and note what is copied from one."""
    operands = [
        *operands_of(
            arguments,
            {"-i", "-e", "-P", "-p", "-o", "-F", "-J", "-l", "--rsh", "-b", "--exclude"},
        )
    ]
    if name == "sshpass":
        operands = [
            word
            for word in operands
            if program_name(word.text) not in {"scp", "rsync", "sftp", "ssh"}
        ]
    if not operands:
        return NOTHING
    target = operands[-1].text
    if name == "sftp":
        if (
            host.contents([stdin]).secrecy is Secrecy.TAKEN
            or stdin.secrecy is Secrecy.TAKEN
            or is_private(stdin.text)
        ):
            host.report(CommandRisk.HOSTILE)
        return NOTHING
    if re.match(r"(?:[\w.$@{}-]+:|rsync://)", target):
        to = re.sub(r"^rsync://|^.*@", "", target).split(":")[0].split("/")[0]
        if host.contents(operands[:-1]).secrecy is Secrecy.TAKEN and not is_local(to):
            host.report(CommandRisk.HOSTILE)
    elif len(operands) > 1 and (remote := re.match(r"(?:[^@\s]+@)?([\w.-]+):", operands[0].text)):
        risk = (
            CommandRisk.HOSTILE
            if NUMERIC.fullmatch(remote[1]) and not is_local(remote[1])
            else CommandRisk.NONE
        )
        if risk:
            name = (
                operands[0].text.rsplit("/", 1)[-1]
                if target in {".", "./"} or target.endswith("/")
                else target
            )
            host.write(Data(name), Data(fetched=risk))
    return NOTHING


def ssh(host: ShellHost, arguments: list[Data], stdin: Data) -> Data:
    """Judge what a command on another host reads."""
    operands = [
        *operands_of(arguments, {"-i", "-o", "-p", "-F", "-J", "-l", "-L", "-R", "-D", "-b"})
    ]
    shown = " ".join(word.text for word in operands[1:])
    to = operands[0].text.rpartition("@")[2] if operands else ""
    used = re.search(r"\b(?:kubectl|docker|podman|sudo|systemctl|env)\b", shown)
    if stdin.secrecy is Secrecy.TAKEN and operands and not used and not is_local(to):
        host.report(CommandRisk.HOSTILE)
    return Data()


def mail(host: ShellHost, arguments: list[Data], stdin: Data) -> Data:
    """Judge what is mailed or published."""
    if joined((stdin, host.contents(arguments), *arguments)).secrecy is Secrecy.TAKEN:
        host.report(CommandRisk.HOSTILE)
    return Data()


def store(host: ShellHost, arguments: list[Data], stdin: Data) -> Data:
    """Judge what a command line of a service uploads."""
    verbs = {word.text for word in arguments[:4]}
    if "secret" in verbs or "secrets" in verbs:
        return Data()
    operands = [
        *operands_of(
            arguments,
            {
                "--profile",
                "--region",
                "--kubeconfig",
                "--config",
                "--key-file",
                "--account-key",
                "--rclone-config",
            },
        )
    ]
    if verbs & programs.UPLOADS and operands:
        copies = bool(verbs & programs.COPIES) and is_private(operands[-1].text)
        sources = operands[:-1] if copies else operands  # what is fetched into a file of secrets
        held = [word for word in arguments if word.secrecy or "=@" in word.text]
        if any(word.text in {"-", "@-", "/dev/stdin", "body=@-"} for word in arguments):
            held.append(stdin)
        if host.contents([*sources, *held]).secrecy is Secrecy.TAKEN:
            host.report(CommandRisk.HOSTILE)
    return Data(secrecy=Secrecy.NONE)


def git(host: ShellHost, arguments: list[Data]) -> Data:
    """Note what a repository is cloned from, and judge where git is redirected."""
    texts = [word.text for word in arguments]
    if "clone" in texts or ("submodule" in texts and "add" in texts):
        urls = [text for text in texts if "://" in text or "@" in text]
        if urls:
            risk = risk_of_address(urls[0])
            after = texts[texts.index(urls[0]) + 1 :]
            folder = next((text for text in after if not text.startswith("-")), "")
            folder = folder or urls[0].rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
            if len(host.files) < MAX_FILES:
                host.files[file_name(folder)] = Data(fetched=risk, saved=True)
    elif "config" in texts:
        for text in texts:
            if text.lower().endswith(".insteadof"):
                _redirects(host, text, texts[-1])
    return NOTHING


def _redirects(host: ShellHost, setting: str, target: str) -> None:
    """Judge that git goes to one place in place of another."""
    address = setting.partition(".")[2][: -len(".insteadof")]
    risk = risk_of_address(address)
    theirs = registered(read_address(address).host)
    if theirs and theirs == registered(read_address(target).host):
        return
    if risk >= CommandRisk.REPLACEABLE_SCRIPT and "://" in target:
        host.report(CommandRisk.HOSTILE)


def install(host: ShellHost, arguments: list[Data]) -> None:
    """Judge a package that is installed from a public address, or that one served."""
    for word in arguments:
        for match in URL.finditer(word.text[:MAX_SHOWN]):
            if "://" in match[0] and risk_of_address(match[0]) is CommandRisk.HOSTILE:
                host.report(CommandRisk.HOSTILE)
                return
        if host.files.get(file_name(word.text), NOTHING).fetched is CommandRisk.HOSTILE:
            host.report(CommandRisk.HOSTILE)
            return


def is_token(name: str, arguments: list[Data]) -> bool:
    """Return whether a command prints a secret that a service has issued."""
    texts = [word.text for word in arguments[:6] if not word.text.startswith("-")]
    return any(
        name.startswith(program)
        and len(texts) > (1 if third else 0)
        and texts[0].startswith(second)
        and (not third or texts[1].startswith(third))
        for program, second, third in programs.TOKENS
    )
