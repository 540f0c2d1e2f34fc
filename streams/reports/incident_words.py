"""Summarises an incident in sentences: what happened, to whom, how it is known, what was done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

import msgspec

from schemas.counting import counted
from schemas.incidents.commands import CommandView
from schemas.incidents.states import Action, CommandStatus, IncidentStatus, Mode, TaskState
from schemas.incidents.views import FindingView, IncidentDocument, SystemView
from schemas.severity import ExposureLevel
from streams.reports.impact import hosts_of

ID_SHOWN: Final = 16
"""Characters of an incident's id in a command line: twelve digits identify it."""
UID_SHOWN: Final = 8
"""The fewest characters of a command's or task's id in a command line."""
NUMBERS_SHOWN: Final = 8
"""The most commands or tasks that a step names."""
TENANTS_SHOWN: Final = 6
_WHERE: Final = ("file", "member", "offset", "line", "global")
_URL: Final = re.compile(r"\b(https?|ftps?|wss?)://([^\s/?#'\"<>|`)\]]+)", re.IGNORECASE)
_NAMED_HOST: Final = re.compile(
    r"\b((?:domain|ipv4)[ :]|dataset[ :](?=[\w.-]+/))([\w-]+(?:\.[\w-]+)+)"
)
"""The patterns by which titles and keys name a host, alone or as the location of a dataset."""
_WWW: Final = re.compile(r"(?<=\bwww)\.", re.IGNORECASE)
_STATES: Final = (
    (CommandStatus.DONE, "is done", "are done"),
    (CommandStatus.WORKING, "is under way", "are under way"),
    (CommandStatus.ISSUED, "waits for an answer", "wait for an answer"),
    (CommandStatus.PROPOSED, "is proposed", "are proposed"),
    (CommandStatus.ADVISED, "is only advised", "are only advised"),
    (CommandStatus.FAILED, "failed", "failed"),
    (CommandStatus.EXPIRED, "expired", "expired"),
    (CommandStatus.REJECTED, "was rejected", "were rejected"),
    (CommandStatus.REVERSED, "was undone", "were undone"),
    (CommandStatus.SUPERSEDED, "was superseded", "were superseded"),
)
"""The words of a summary for one and for several, in the order in which it counts them."""


class NextStep(msgspec.Struct, frozen=True, kw_only=True):
    """One next step."""

    text: str
    command: str = ""
    """The command line for it, with `WHY` and `WHO` to be filled in."""


class IncidentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as five answers of a few sentences each."""

    happened: str
    to_whom: str
    known: str
    done: str
    now: str


CODE: Final = re.compile(r"`([^`\n]+)`")
"""Code in a rule's text."""


def unmarked(text: str) -> str:
    """Return a rule's text without Markdown: code is quoted.

    Args:
        text: A sentence of a rule, with the marks of Markdown.
    """
    return CODE.sub(r'"\1"', text)


def moment(time: datetime) -> str:
    """Return a time for people, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float | None) -> str:
    """Return how long something took, in its two largest units, or `not yet`."""
    if seconds is None:
        return "not yet"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{counted(days, 'day')} {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def where(finding: FindingView) -> str:
    """Return where in its subject a finding is; empty if it has no location."""
    return ", ".join(
        f"{name} {finding.evidence[name]}"
        for name in _WHERE
        if finding.evidence.get(name) not in {None, ""}
    )


class Defanging:
    """Defangs URLs and hostile hosts in the texts of an incident."""

    def __init__(self, incident: IncidentDocument) -> None:
        """Learn the hosts.

        Args:
            incident: Hosts in its indicators and evidence are hostile.
        """
        hosts = {host for finding in incident.findings for host in hosts_of(finding) if "." in host}
        longest = sorted(hosts, key=lambda host: (-len(host), host))
        self._hosts = (
            re.compile(
                rf"(?<![\w.-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])", re.IGNORECASE
            )
            if longest
            else None
        )

    def __call__(self, text: str) -> str:
        """Return a text with its URLs and those hosts defanged."""
        text = _WWW.sub("[.]", defanged_name(text))
        if self._hosts is None:
            return text
        return self._hosts.sub(lambda found: found[0].replace(".", "[.]"), text)


def defanged_name(text: str) -> str:
    """Return a title, or a component's key, with its URLs and the host that it is about defanged.

    Args:
        text: As an incident or a command has it.
    """
    text = _URL.sub(_without_link, text)
    return _NAMED_HOST.sub(lambda found: found[1] + found[2].replace(".", "[.]"), text)


def refanged(name: str) -> str:
    """Return a component's key as it is, for one that was copied from a text that defangs.

    Args:
        name: A key, or its beginning.
    """
    return name.replace("[.]", ".")


def _without_link(found: re.Match[str]) -> str:
    scheme = found[1].lower().replace("tt", "xx").replace("ftp", "fxp").replace("ws", "wxs")
    return f"{scheme}://{found[2].replace('.', '[.]')}"


def worst_finding(incident: IncidentDocument) -> FindingView | None:
    """Return the finding that leads: the first that still holds, else the first."""
    holding = [finding for finding in incident.findings if finding.active]
    return next(iter([*holding, *incident.findings]), None)


def systems_of(incident: IncidentDocument) -> dict[tuple[str, str], list[SystemView]]:
    """Return the views of each system, by tenant and name."""
    found: dict[tuple[str, str], list[SystemView]] = {}
    for view in incident.systems:
        found.setdefault((view.tenant, view.system), []).append(view)
    return found


def farthest(views: Iterable[SystemView]) -> ExposureLevel:
    """Return the farthest exposure of some views."""
    return max((view.exposure for view in views), key=attrgetter("rank"))


def how_far(view: CommandView) -> str:
    """Return the state of a command, and who authorised it if the state does not imply that."""
    notes = authorised(view)
    return f"{view.state} ({notes})" if notes else str(view.state)


def authorised(view: CommandView) -> str:
    """Return who authorised a command and whether it is a dry run; empty if its state says so."""
    mode = "" if view.spec.mode in {Mode.PROPOSAL, Mode.ADVISED} else str(view.spec.mode)
    return ", ".join(filter(None, [mode, "dry run" if view.spec.dry_run else ""]))


def assignees(incident: IncidentDocument) -> str:
    """Return the assignees as a phrase."""
    who = {part.assignee for part in incident.tenants if part.assignee}
    return f"assigned to {', '.join(sorted(who))}" if who else "unassigned"


def summary(incident: IncidentDocument) -> IncidentSummary:
    """Return an incident in sentences, from its record alone.

    Args:
        incident: The operator's record.
    """
    return IncidentSummary(
        happened=_happened(incident),
        to_whom=_to_whom(incident),
        known=_known(incident),
        done=_done(incident),
        now=incident.next_action or "Investigate.",
    )


def _sentence(text: str) -> str:
    text = text.strip()
    first = text.partition(" ")[0].rstrip(":,;")
    if first.isalpha():
        # a file or module keeps its name: another case is another file
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ".)")) else f"{text}."


def _happened(incident: IncidentDocument) -> str:
    leading = worst_finding(incident)
    parts = [_sentence(incident.title)]
    if leading is not None:
        more = len(
            [finding for finding in incident.findings if finding.active and finding is not leading]
        )
        place = where(leading)
        parts.append(_sentence(leading.description + (f" ({place})" if place else "")))
        if more:
            parts.append(
                f"{counted(more, 'further finding')} support{'s' if more == 1 else ''} it."
            )
        if not leading.active:
            parts.append("The finding has since been withdrawn.")
    return " ".join(parts)


def _to_whom(incident: IncidentDocument) -> str:
    if not incident.system_count:
        return (
            f"No system is known to hold it; {counted(incident.tenant_count, 'tenant')} "
            f"{'has' if incident.tenant_count == 1 else 'have'} been alerted."
        )
    shown = [f"{part.tenant} ({part.systems})" for part in incident.tenants[:TENANTS_SHOWN]]
    if incident.tenant_count > len(shown):
        shown.append(f"{incident.tenant_count - len(shown)} more")
    text = (
        f"{counted(incident.system_count, 'system')} of {counted(incident.tenant_count, 'tenant')} "
        f"{'is' if incident.system_count == 1 else 'are'} affected: {', '.join(shown)}."
    )
    reached = systems_of(incident)
    if reached:
        far = farthest(incident.systems)
        at = [
            f"{tenant} / {name}"
            for (tenant, name), views in reached.items()
            if farthest(views) == far
        ]
        more = f" and {len(at) - 3} more" if len(at) > 3 else ""  # noqa: PLR2004 -- named in a sentence
        text += f" The highest exposure is {far}: {', '.join(at[:3])}{more}."
    made = {view.component for view in incident.systems if view.path}
    if made:
        verb = "is" if len(made) == 1 else "are"
        text += f" {counted(len(made), 'component')} derived from it {verb} affected too."
    return text


def _known(incident: IncidentDocument) -> str:
    how = Counter(
        finding.known_by or "the tenant's own events"
        for finding in incident.findings
        if finding.active
    )
    leading = worst_finding(incident)
    parts = []
    if how:
        parts.append(f"It is known by {'; '.join(how)}.")
    if leading is not None:
        parts.append(f"The confidence is {leading.confidence:.2f}.")
    parts.append(f"It was first seen on {moment(incident.first_seen)}")
    times = incident.processing
    if times.detected_at is not None:
        parts[-1] += f" and detected on {moment(times.detected_at)}"
        if times.retro:
            parts[-1] += ", when intelligence reported it"
    parts[-1] += "."
    return " ".join(parts)


def _done(incident: IncidentDocument) -> str:
    states = Counter(view.state for view in incident.commands)
    if states:
        counts = [
            f"{states[state]} {one if states[state] == 1 else several}"
            for state, one, several in _STATES
            if states[state]
        ]
        said = " and ".join(filter(None, [", ".join(counts[:-1]), counts[-1]]))
        text = f"Of {counted(len(incident.commands), 'command')}, {said}."
    else:
        text = "No containment was ordered."
    contained = incident.processing.seconds_to_contain
    if contained is not None:
        text += f" It was contained {duration(contained)} after it was detected."
    if incident.tasks:
        done = sum(task.state is TaskState.DONE for task in incident.tasks)
        share = "none is" if not done else f"{done} {'is' if done == 1 else 'are'}"
        text += f" Of {counted(len(incident.tasks), 'task')}, {share} done."
    return text


def next_steps(incident: IncidentDocument) -> list[NextStep]:
    """Return the next steps, each with its command line.

    Only steps that the command line accepts: approve what is proposed, retry what failed.

    Args:
        incident: The operator's record.
    """
    if incident.status.ended:
        return []
    by_state: dict[CommandStatus, list[tuple[int, CommandView]]] = {}
    for number, view in enumerate(incident.commands, 1):
        by_state.setdefault(view.state, []).append((number, view))
    name = incident.id[:ID_SHOWN]
    # numbers change as the incident does: between reading and deciding they may name another
    uids = [view.spec.command_id for view in incident.commands]
    tasks = [task.id for task in incident.tasks]
    steps = []
    if incident.status == IncidentStatus.NEW:
        steps.append(_step("Assign it", f"assign {name} WHO"))
    for state, verb, text in (
        (CommandStatus.PROPOSED, "approve", "Approve or reject what is proposed"),
        (CommandStatus.FAILED, "retry", "Retry what failed, or do it by hand"),
        (CommandStatus.EXPIRED, "retry", "Retry what expired, or do it by hand"),
        (CommandStatus.ADVISED, "approve", "Approve what is advised, or do it by hand"),
    ):
        usable = [number for number, view in by_state.get(state, []) if can_be_issued(view)]
        if usable:
            first = beginning(uids[usable[0] - 1], uids)
            steps.append(_step(f"{text}: no. {_numbers(usable)}", f"{verb} {name} {first}"))
    by_hand = [
        number
        for state in (CommandStatus.PROPOSED, CommandStatus.ADVISED)
        for number, view in by_state.get(state, [])
        if not can_be_issued(view)
    ]
    if by_hand:
        text = "Choose a version to roll back to, and roll back by hand"
        steps.append(NextStep(text=f"{text}: no. {_numbers(sorted(by_hand))}"))
    waiting = len(by_state.get(CommandStatus.ISSUED, [])) + len(
        by_state.get(CommandStatus.WORKING, [])
    )
    if waiting:
        text = f"{counted(waiting, 'command')} wait{'s' if waiting == 1 else ''}"
        steps.append(NextStep(text=f"{text} for a responder's answer"))
    still = [
        number for number, task in enumerate(incident.tasks, 1) if task.state is not TaskState.DONE
    ]
    if still:
        text = f"Carry out the tasks, and complete them: no. {_numbers(still)}"
        first = beginning(tasks[still[0] - 1], tasks)
        steps.append(_step(text, f"complete {name} {first}"))
    return steps


def beginning(uid: str, others: Sequence[str]) -> str:
    """Return the shortest beginning of an id that names no other, of at least `UID_SHOWN`.

    Args:
        uid: The id of a command or task.
        others: The ids that it is told apart from; itself among them is left out.
    """
    for end in range(UID_SHOWN, len(uid)):
        if not any(other != uid and other.startswith(uid[:end]) for other in others):
            return uid[:end]
    return uid


def _step(text: str, command: str) -> NextStep:
    return NextStep(text=text, command=f'tidewatch incidents {command} --reason "WHY"')


def can_be_issued(view: CommandView) -> bool:
    """Return whether approving a command has an effect: a rollback needs a target version.

    Args:
        view: A command that is proposed or advised.
    """
    return view.spec.action is not Action.ROLLBACK or view.spec.rollback_digest is not None


def _numbers(numbers: Sequence[int]) -> str:
    more = len(numbers) - NUMBERS_SHOWN
    return ", ".join(map(str, numbers[:NUMBERS_SHOWN])) + (f" and {more} more" if more > 0 else "")
