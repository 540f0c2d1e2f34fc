"""The rows of one incident, as one batch reads and writes them."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.domain.organisations import Register
from agents.triage.bounded_sets import clip, stable_rank, trim
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.incidents.rows import (
    ACTIONS,
    ASKED,
    CORE,
    FINDINGS,
    KEYS,
    KEYS_BYTES,
    SEEN,
    SYSTEMS,
    TENANTS,
    TENANTS_BYTES,
    ActionsRow,
    AskedRow,
    CommandsRow,
    CoreRow,
    FindingsRow,
    SeenRow,
    SystemsRow,
    paged,
)
from agents.triage.organisation_counts import organisations_in
from agents.triage.routing import split_version
from agents.triage.store import Store, row_key

ROOT_BYTES: Final = 600
MESSAGES: Final = 4096
"""More than the messages to holds that one record can cause."""
OWN_KEYS: Final = 64
"""The most components of a tenant whose ledger rows are notified of its decision."""


class IncidentRows:
    """The rows of one incident, in the store of one batch."""

    def __init__(
        self,
        store: Store,
        incident: str,
        k: int = PRIVATE_TENANTS,
        register: Register | None = None,
    ) -> None:
        """Open the incident; its core row is new when there is none.

        Args:
            store: The batch's rows.
            incident: Its id.
            k: Fewer tenants are never counted in what a tenant reads.
            register: Which organisations tenants belong to; None: each is one.
        """
        self._register = register or Register()
        self.k = k
        self.store = store
        self.incident = incident
        self._core_key = row_key(CORE, incident)
        self._keys: dict[tuple[str, str], str] = {}
        self.core = store.load(self._core_key, CoreRow) or CoreRow(incident=incident)
        self.reached: set[str] = set()
        """Parts that reached their bound in this batch."""
        self._actions: dict[str, ActionsRow] = {}
        self._unsaved: dict[str, ActionsRow] = {}
        self._core_version = 0
        self._evidence: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._seen_key = row_key(SEEN, incident)
        self._seen = store.load(self._seen_key, SeenRow) or SeenRow()
        self._sent = 0

    def count_record(self, at_ms: int) -> None:
        """Count a record about the incident.

        However records are cut into batches, messages to holds caused by one record share a
        revision, and later ones have a greater one, even if the incident was forgotten and opened
        again.
        """
        self._seen.count = self._seen.count + 1 if self._seen.count else at_ms
        self._sent = 0
        self.store.save(self._seen_key, self._seen)

    def next_revision(self) -> int:
        """Return the revision of the next message to a hold."""
        self._sent += 1
        return self._seen.count * MESSAGES + self._sent

    def asked(self, tenant: str) -> AskedRow:
        """Return what the tenant's part sent to holds and received from them."""
        return self.store.load(self._key(ASKED, tenant), AskedRow) or AskedRow(tenant=tenant)

    def _key(self, kind: str, tenant: str) -> str:
        key = self._keys.get((kind, tenant))
        if key is None:
            key = self._keys[kind, tenant] = row_key(kind, self.incident, tenant)
        return key

    def save_asked(self, row: AskedRow) -> None:
        """Mark `asked` for writing."""
        self.store.save(self._key(ASKED, row.tenant), row)

    def exists(self) -> bool:
        """Return whether the incident is known: whether it has a root."""
        return bool(self.core.root)

    def save_core(self) -> None:
        """Mark the core row for writing."""
        self._core_version += 1
        self.note_core()

    def note_core(self) -> None:
        """Mark the core row for writing; no tenant's part depends on the change."""
        self.store.save(self._core_key, self.core)

    def version(self, tenant: str) -> tuple[int, int, int]:
        """Return a version that changes whenever a row behind the tenant's part changes.

        Its first two numbers change with findings and systems, the third with decisions and
        actions.
        """
        return self._core_version, self._evidence.get(tenant, 0), self._done.get(tenant, 0)

    def findings(self, tenant: str) -> FindingsRow:
        """Return the tenant's findings."""
        key = self._key(FINDINGS, tenant)
        return self.store.load(key, FindingsRow) or FindingsRow(tenant=tenant)

    def systems(self, tenant: str) -> SystemsRow:
        """Return the tenant's systems."""
        key = self._key(SYSTEMS, tenant)
        return self.store.load(key, SystemsRow) or SystemsRow(tenant=tenant)

    def actions(self, tenant: str) -> ActionsRow:
        """Return the tenant's actions, with the commands of all their pages."""
        if tenant not in self._actions:
            row = self.store.load(row_key(ACTIONS, self.incident, tenant), ActionsRow)
            commands = dict(row.commands) if row is not None else {}
            for page in range(row.pages if row is not None else 0):
                held = self.store.load(self._page_key(tenant, page), CommandsRow)
                commands.update(held.commands if held is not None else {})
            self._actions[tenant] = msgspec.structs.replace(
                row or ActionsRow(tenant=tenant), commands=commands
            )
        return self._actions[tenant]

    def _page_key(self, tenant: str, page: int) -> str:
        return row_key(ACTIONS, self.incident, tenant, f"{page:04d}")

    def save(self, row: FindingsRow | SystemsRow | ActionsRow) -> None:
        """Mark a tenant's row for writing."""
        if isinstance(row, ActionsRow):
            self._done[row.tenant] = self._done.get(row.tenant, 0) + 1
            self.note_actions(row)
            return
        self._evidence[row.tenant] = self._evidence.get(row.tenant, 0) + 1
        kind = FINDINGS if isinstance(row, FindingsRow) else SYSTEMS
        self.store.save(self._key(kind, row.tenant), row)

    def note_actions(self, row: ActionsRow) -> None:
        """Mark a tenant's actions for writing; its part does not depend on the change."""
        self._unsaved[row.tenant] = row

    def flush(self) -> None:
        """Write changed actions to their rows."""
        for row in self._unsaved.values():
            self._save_actions(row)
        self._unsaved.clear()

    def _save_actions(self, row: ActionsRow) -> None:
        first, *more = paged(row.commands)
        for page, commands in enumerate(more):
            self.store.save(self._page_key(row.tenant, page), CommandsRow(commands=commands))
        for page in range(len(more), row.pages):
            self.store.delete(self._page_key(row.tenant, page))
        row.pages = len(more)
        kept = msgspec.structs.replace(row, commands=first)
        self.store.save(row_key(ACTIONS, self.incident, row.tenant), kept)

    def tenants(self) -> list[str]:
        """Return the sorted names of its tenants, as far as they are kept."""
        return sorted(self.core.tenants.values())

    def begin(self, root: str) -> None:
        """Record what the incident is about, with or without tenants."""
        if not self.core.root:
            self.core.root = clip(root, ROOT_BYTES)
            self.save_core()
            self.involves(split_version(root)[0])

    def meets(self, tenant: str, root: str, *, counted: bool = True) -> None:
        """Note that a tenant is part of the incident.

        Args:
            tenant: The tenant.
            root: What the incident is about.
            counted: Whether it counts as affected, not only as advised.
        """
        core = self.core
        self.begin(root)
        rank = stable_rank(tenant)
        organisation = self._register.counted(tenant) if counted else None
        if organisation is not None and core.tenant_tally.add(organisation, TENANTS):
            self.save_core()
        if rank not in core.tenants:
            core.tenants[rank] = tenant
            if trim(core.tenants, TENANTS, TENANTS_BYTES, self._tenant_order):
                self.truncate("tenants")
            self.save_core()

    def counts(self, tenant: str) -> bool:
        """Return whether a tenant's organisation counts as affected."""
        organisation = self._register.counted(tenant)
        return organisation is not None and self.core.tenant_tally.has(organisation)

    def organisations(self) -> int:
        """Return how many organisations count as affected."""
        return organisations_in(self.core.tenant_tally, self._register)

    def involves(self, key: str) -> None:
        """Note a component whose ledger row is notified of the incident's status."""
        rank = stable_rank(key)
        if rank not in self.core.keys:
            self.core.keys[rank] = key
            if trim(self.core.keys, KEYS, KEYS_BYTES, self._key_order):
                self.truncate("components")
            self.note_core()

    def _tenant_order(self, rank: str) -> tuple[bool, str]:
        """Order tenants of the operator's register before others, whose names can be invented."""
        return (self._register.counted(self.core.tenants[rank]) is None, rank)

    def _key_order(self, rank: str) -> tuple[bool, str]:
        """Order the incident's root before its holders' names for it."""
        return (self.core.keys[rank] != split_version(self.core.root)[0], rank)

    def keys_of(self, tenant: str) -> list[str]:
        """Return the components whose ledger rows are notified of a tenant's part, or of the whole.

        Args:
            tenant: The tenant whose own components are always included; empty: none.
        """
        keys = set(self.core.keys.values())
        if tenant:
            entries = self.systems(tenant).entries.values()
            keys |= set(sorted({split_version(entry.component)[0] for entry in entries})[:OWN_KEYS])
        return sorted(keys)

    def truncate(self, part: str) -> None:
        """Note that a part reached its bound."""
        if part not in self.core.truncated:
            self.reached.add(part)
            self.core.truncated = sorted({*self.core.truncated, part})
            self.note_core()
