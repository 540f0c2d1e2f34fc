"""`tidewatch intel`: import, list, show and withdraw intelligence."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import orjson
import typer

from agents.intelligence.feed import Changes, Feed, InvalidFeedError, changes
from agents.intelligence.lists import read_list
from agents.intelligence.osv import SOURCE as OSV
from agents.intelligence.osv import read_archive, read_single
from agents.intelligence.snapshot import check_snapshot, require_count
from agents.intelligence.stix import SOURCE as STIX
from agents.intelligence.stix import read_bundle
from schemas.channels import Channel
from schemas.components import canonical_package, normalise_key
from schemas.counting import counted
from schemas.errors import TidewatchError
from schemas.intel import IntelFact, IntelKind
from streams.cli.frame import connected_settings, example, new_app
from streams.cli.output import Format, FormatOption, plain, print_json, print_line, print_table
from streams.held import held_values, update_held
from streams.kafka.compacted import keys_with, latest_values, publish_values
from streams.reports.fact_words import fact_lines, versions_of
from streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings

app = new_app("Import feeds of intelligence, show and withdraw facts.")

MAX_FEED_BYTES = 512 << 20


class FeedKind(StrEnum):
    """The kinds of content of a file."""

    AUTO = "auto"
    OSV = "osv"
    STIX = "stix"
    BLOCKLIST = "blocklist"
    WARNINGLIST = "warninglist"
    KNOWN_GOOD = "known-good"


_LISTS = {
    FeedKind.BLOCKLIST: IntelKind.BLOCKED,
    FeedKind.WARNINGLIST: IntelKind.WARNINGLIST,
    FeedKind.KNOWN_GOOD: IntelKind.KNOWN_GOOD,
}


def read_feed(raw: bytes, kind: FeedKind, where: str, source: str | None) -> tuple[Feed, str]:
    """Return the facts of a file, and the prefix of its source's names.

    Args:
        raw: The file's bytes.
        kind: The kind of content; `auto` distinguishes zip archives, OSV records and STIX bundles.
        where: Its name.
        source: For a list: its name; the file's by default.

    Raises:
        InvalidFeedError: It can't be read as that.
    """
    if kind in _LISTS:
        name = f"list:{source or Path(where).name}"
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidFeedError("not a text file", where=where) from error
        return read_list(text, _LISTS[kind], source=name, where=where), name
    if raw[:2] == b"PK" and kind in {FeedKind.AUTO, FeedKind.OSV}:
        return read_archive(raw, where), OSV
    if kind is FeedKind.AUTO:
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise InvalidFeedError(
                "neither a zip archive nor JSON",
                where=where,
                remedy="for a plain list: --kind blocklist, warninglist or known-good",
            ) from error
        is_bundle = isinstance(document, dict) and document.get("type") == "bundle"
        kind = FeedKind.STIX if is_bundle else FeedKind.OSV
    if kind is FeedKind.STIX:
        return read_bundle(raw, where), STIX
    return read_single(raw, where), OSV


def feed_facts(file: Path) -> list[IntelFact]:
    """Return the facts of a feed that a user names: an archive, a record, a bundle or a blocklist.

    Raises:
        TidewatchError: It can't be read.
    """
    raw = _read_file(file)
    structured = raw[:2] == b"PK" or raw.lstrip()[:1] in {b"{", b"["}
    kind = FeedKind.AUTO if structured else FeedKind.BLOCKLIST
    return list(read_feed(raw, kind, str(file), None)[0].facts.values())


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FEED_BYTES + 1)
    except OSError as error:
        raise TidewatchError(
            f"can't read it ({error.strerror})", where=str(path), remedy="name a readable file"
        ) from error
    if len(raw) > MAX_FEED_BYTES:
        raise InvalidFeedError(f"more than {MAX_FEED_BYTES >> 20} MiB", where=str(path))
    return raw


def _facts(values: dict[str, bytes]) -> dict[str, IntelFact]:
    """Return the facts among values of the channel; records that can't be read are left out."""
    decoder = msgspec.json.Decoder(IntelFact)
    facts: dict[str, IntelFact] = {}
    for key, value in values.items():
        try:
            facts[key] = decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Workers can't read this record either: the import replaces it.
            continue
    return facts


@app.command(
    "import",
    epilog=example(
        "tidewatch intel import all.zip --manifest all.zip.manifest.json --key feed.pem",
        "tidewatch intel import blocklist.txt --kind blocklist --allow-unsigned",
    ),
)
def import_feed(
    file: Annotated[
        Path | None, typer.Argument(help="OSV archive or record, STIX bundle, or a list")
    ] = None,
    *,
    taxii: Annotated[
        str | None, typer.Option("--taxii", help="the URL of a TAXII 2.1 collection, not a file")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="TAXII: the secret, as env:NAME or file:PATH")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="TAXII: the user name, if the token is a password")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="TAXII: only objects added after this time")
    ] = None,
    kind: Annotated[FeedKind, typer.Option(help="the kind of the file")] = FeedKind.AUTO,
    source: Annotated[str | None, typer.Option(help="name of a list's source")] = None,
    manifest: Annotated[Path | None, typer.Option(help="the snapshot's signed manifest")] = None,
    key: Annotated[Path | None, typer.Option(help="the publisher's Ed25519 key, PEM")] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="import an unsigned feed")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would change")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="for scans on this machine only, without a broker")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Publish the new and changed facts of a feed, and withdraw those that it dropped.

    A poisoned feed could name good software, so an import requires a signed manifest or
    --allow-unsigned. TAXII collections are never signed.
    """
    if (file is None) == (taxii is None):
        raise TidewatchError(
            "two feeds are given" if file else "no feed is given",
            where="intel import",
            remedy="name a file, or a collection with --taxii",
        )
    place = str(taxii or file)
    signed = last = None
    if not (file and manifest and key) and not allow_unsigned:
        raise TidewatchError(
            "the feed is unsigned",
            where=place,
            remedy="give --allow-unsigned"
            if taxii
            else "give --manifest and --key, or --allow-unsigned",
        )
    if taxii is not None:
        feed, last = _collected(taxii, token, user, since)
        prefix = STIX
    else:
        raw = _read_file(Path(place))
        if manifest is not None and key is not None:
            signed = check_snapshot(raw, _read_file(manifest), _read_file(key), place)
        feed, prefix = read_feed(raw, kind, place, source)
    if signed is not None:
        require_count(feed, signed, place)
    if local:
        change = _import_locally(feed, prefix, keep=not dry_run)
    else:
        change = asyncio.run(
            import_facts(connected_settings(), feed, prefix, _show_progress, publish=not dry_run)
        )
    if form is Format.TEXT:
        _show_import(feed, change, last)
        return
    print_json(
        {
            "file": place,
            "records": feed.records,
            "facts": len(feed.facts),
            "published": len(change.facts),
            "withdrawn": len(change.tombstones),
            "unchanged": change.unchanged,
            "skipped": feed.skipped,
            "malformed": feed.malformed,
            "problems": feed.problems,
            "signed_by": signed.key_id if signed else None,
            "dry_run": dry_run,
            "last_added": last,
        }
    )


def _show_import(feed: Feed, change: Changes, last: str | None) -> None:
    print_line(
        f"{counted(feed.records, 'record')}, {counted(len(feed.facts), 'fact')}: "
        f"{len(change.facts):,} new or changed, {len(change.tombstones):,} withdrawn, "
        f"{change.unchanged:,} as they were"
    )
    for reason, count in sorted(feed.skipped.items()):
        print_line(plain(f"  passed over: {count:,} ({reason})"))
    for problem in feed.problems:
        print_line(plain(f"  can't be read: {problem}", 300))
    if last is not None:
        print_line(plain(f"  next time: --since {last}", 300))


def _collected(
    url: str, token: str | None, user: str | None, since: str | None
) -> tuple[Feed, str | None]:
    """Return the facts of a TAXII collection, and when the last of them was added."""
    from agents.intelligence.taxii import read_collection  # noqa: PLC0415 -- files need no HTTP
    from streams.http.secrets import read_secrets  # noqa: PLC0415 -- the same

    secret = read_secrets(token, "--token")[0] if token is not None else None
    collected = read_collection(url, user=user, token=secret, since=since)
    return collected.feed, collected.last


def _import_locally(feed: Feed, prefix: str, *, keep: bool) -> Changes:
    state_dir = load_settings().state_dir
    change = changes(_facts(held_values(state_dir, Channel.INTEL)), feed, source=prefix)
    if keep:
        update_held(state_dir, Channel.INTEL, dict(_values(change)))
    return change


def _values(change: Changes) -> list[tuple[str, bytes | None]]:
    encoder = msgspec.json.Encoder()
    values: list[tuple[str, bytes | None]] = [
        (fact.key, encoder.encode(fact)) for fact in change.facts
    ]
    return [*values, *((key, None) for key in change.tombstones)]


async def import_facts(
    settings: Settings,
    feed: Feed,
    prefix: str,
    progress: Callable[[int], None] = lambda _count: None,
    *,
    publish: bool,
) -> Changes:
    """Return the changes of a feed, and publish them if asked to.

    Args:
        settings: Which broker.
        feed: The facts.
        prefix: The prefix of its source's names: facts under it that it dropped are withdrawn.
        progress: Called from time to time with the number of records sent.
        publish: Whether to publish the changes.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
        NotAuthorisedError: The key may not publish them.
    """
    known = _facts(await latest_values(settings, Channel.INTEL))
    change = changes(known, feed, source=prefix)
    if publish:
        await publish_values(settings, Channel.INTEL, _values(change), progress)
    return change


async def withdraw_fact(settings: Settings, key: str) -> None:
    """Withdraw the fact about a component.

    Args:
        settings: Which broker.
        key: The component's key.

    Raises:
        TidewatchError: There is no fact about it.
        BrokerUnreachableError: No broker answers, or it refuses the record.
        NotAuthorisedError: The key may not publish it.
    """
    if key not in await latest_values(settings, Channel.INTEL):
        raise TidewatchError(
            f"nothing is known of {key}", where="intel", remedy="see: tidewatch intel list"
        )
    await publish_values(settings, Channel.INTEL, [(key, None)])


def _show_progress(count: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{count:,} published")
        sys.stderr.flush()


@app.command("list", epilog=example("tidewatch intel list --prefix pypi: --limit 20"))
def list_facts(
    *,
    prefix: Annotated[str, typer.Option(help="only keys with this prefix")] = "",
    limit: Annotated[int, typer.Option(min=1, help="show at most this many")] = 100,
    form: FormatOption = Format.TEXT,
) -> None:
    """List facts: component, kind, versions, sources."""
    values = asyncio.run(latest_values(connected_settings(), Channel.INTEL))
    facts = _facts(values)
    keys = [key for key in keys_with(values, prefix) if key in facts]
    if form is Format.JSON:
        print_json([msgspec.to_builtins(facts[key]) for key in keys[:limit]])
        return
    rows = [
        [
            plain(key, 60),
            facts[key].kind.value,
            plain(versions_of(facts[key]), 40),
            plain(", ".join(facts[key].sources), 40),
        ]
        for key in keys[:limit]
    ]
    print_table(["component", "kind", "versions", "sources"], rows)
    if len(keys) > limit:
        print_line(f"and {len(keys) - limit:,} more: --limit")


def _key_of(component: str) -> str:
    """Return the key of a component argument; a bare name is a package."""
    return normalise_key(component if ":" in component else f"pypi:{canonical_package(component)}")


@app.command(epilog=example("tidewatch intel show pypi:litellm"))
def show(
    component: Annotated[str, typer.Argument(help="a component key, or a package's name")],
    *,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show the facts about one component; exit code 1 if it is known to be bad."""
    key = _key_of(component)
    fact = _facts(asyncio.run(latest_values(connected_settings(), Channel.INTEL))).get(key)
    if form is Format.JSON:
        print_json(None if fact is None else msgspec.to_builtins(fact))
    elif fact is None:
        print_line(f"nothing is known of {plain(key)}")
    else:
        for line in fact_lines(fact):
            print_line(line)
    bad = {IntelKind.MALICIOUS, IntelKind.COMPROMISED, IntelKind.BLOCKED}
    if fact is not None and fact.kind in bad:
        raise typer.Exit(1)


@app.command(epilog=example("tidewatch intel withdraw pypi:acme-features"))
def withdraw(
    component: Annotated[str, typer.Argument(help="a component key, or a package's name")],
    *,
    form: FormatOption = Format.TEXT,
) -> None:
    """Withdraw the fact about a component: its alerts close and its containment is released."""
    key = _key_of(component)
    asyncio.run(withdraw_fact(connected_settings(), key))
    if form is Format.JSON:
        print_json({"withdrawn": key})
    else:
        print_line(plain(f"{key} is withdrawn"))
