"""Root turns: ends what rests on a trust root that was removed, a page of rows at a time."""

from __future__ import annotations

from agents.triage.ledger import campaigns, marks, package_files
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import CLAIMS, COMPONENT, FILE, PAGE
from agents.triage.ledger.standing_roots import forget_root, is_turn, page_of_uses, turn_roots
from agents.triage.store import SEPARATOR
from schemas.ledger import RootTurned


def look_for_turns(batch: LedgerBatch, now_ms: int) -> None:
    """Compare the trust roots that rows name with those in force, and follow what changed."""
    for root in turn_roots(batch, now_ms):
        first = page_of_uses(batch, root, limit=1)
        if not first:
            forget_root(batch, root)
            continue
        # Each in a message of its own: a policy may change very many at once.
        key = first[0][1].component
        batch.send_to_ledger(key, RootTurned(key=key, root=root, at_ms=now_ms))


def on_turn(batch: LedgerBatch, turn: RootTurned) -> None:
    """End, or begin again, what rests on a trust root; continue in a message of its own."""
    if not is_turn(batch, turn.root, turn.at_ms):
        return  # it has turned again since, and that turn goes over all rows
    page = page_of_uses(batch, turn.root, turn.after)
    for _, use in page:
        kind = use.key.partition(SEPARATOR)[0]
        if kind in {COMPONENT, CLAIMS}:
            marks.on_root(batch, use.component, use.key)
        elif kind == FILE:
            package_files.on_root(batch, use.component, use.key, turn)
        else:
            campaigns.on_root(batch, use.component, use.key, turn)
    if len(page) == PAGE:
        key, use = page[-1]
        batch.send_to_ledger(
            use.component,
            RootTurned(key=use.component, root=turn.root, at_ms=turn.at_ms, after=key),
        )
