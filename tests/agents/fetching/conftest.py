"""A server for each test, and what a tenant may reach of it."""

from __future__ import annotations

import pytest

from agents.fetching.fetch_scope import Credentials, FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from schemas.policy import Policy
from tests.agents.fetching.servers import running


@pytest.fixture
def server():
    with running() as one:
        yield one


@pytest.fixture
def fetcher():
    """Make fetchers of a tenant; they are closed at the end."""
    made = []

    def make(
        *roots, tenant="tenant-a", resolve=None, credentials=None, private=("127.0.0.1",), **rules
    ):
        reach = tenant_reach(
            Policy(tenant=tenant, roots=roots, credentials="ref" if credentials else None),
            FetchRules(
                schemes=frozenset({"file", "http", "https", "s3", "oci", "hf", "mlflow"}),
                private_hosts=private,
                backoff_seconds=0.001,
                **rules,
            ),
            {"ref": Credentials(**{"tenants": ("tenant-a",), **(credentials or {})})},
        )
        one = Fetcher(reach, **({"resolve": resolve} if resolve else {}))
        made.append(one)
        return one

    yield make
    for server in made:
        server.close()
