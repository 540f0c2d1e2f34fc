"""Keys from event content: a private name belongs to the event's tenant."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.packages.check import check_packages
from agents.checks.pipelines import check_pipeline
from agents.checks.provenance.subject import push_subject
from agents.domain.component_keys import confined, event_key, is_foreign, named_key, own_key
from agents.domain.knowledge import MemoryKnowledge
from agents.package_install import install_context
from agents.registry_push import push_context
from schemas.components import PREFIXES, tenant_part, tenant_scoped
from schemas.events import Event, PackageInstall, PipelineRun, RegistryPush
from streams.demo.story_builder import StoryBuilder, package
from streams.kafka.topics import tenant_slug
from tests.agents.examples import check_pushed
from tests.agents.triage.flow import START
from tests.schemas.events import PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH

NAMES = st.text(alphabet="ab/@~. :x0-", min_size=1, max_size=12)
TENANTS = st.text(alphabet="ab/@~ x0.", min_size=1, max_size=8)


def test_a_private_name_belongs_to_the_tenant_whose_whole_name_it_has():
    assert is_foreign("model:@acme/x", "ac")
    assert not is_foreign("model:@acme/x", "acme")
    assert own_key("model", "@acme/x", "acme") == own_key("model", "x", "acme") == "model:@acme/x"
    only_owners = {event_key("model", name, "acme") for name in ("@b", "@b/", "@/", "@c", "@ /")}
    assert not any(is_foreign(key, "acme") for key in only_owners)


@given(NAMES, TENANTS)
def test_no_event_makes_a_key_of_another_tenants(name, tenant):
    if not name.strip():
        return
    for make in (event_key, own_key):
        key = make("model", name, tenant)
        assert not is_foreign(key, tenant)
        assert confined(key, tenant) == key


@given(TENANTS, TENANTS)
def test_two_tenants_never_share_a_private_name(one, other):
    if one == other:
        return
    assert tenant_part(one) != tenant_part(other)
    assert tenant_slug(one) != tenant_slug(other)
    assert is_foreign(tenant_scoped("model:x", one), other)


def test_a_tenant_that_calls_itself_like_anothers_hash_gets_another():
    for name in ("acme.example", "acme/example", "~"):
        assert tenant_slug(tenant_slug(name)) != tenant_slug(name)
        assert tenant_part(tenant_part(name)) != tenant_part(name) or tenant_part(name) == name


def test_a_private_name_of_ones_own_stays():
    assert named_key("model:@acme/x", "acme") == "model:@acme/x"
    assert named_key("model:@globex/x", "acme") == "model:@acme/x"
    assert confined("model:@/", "acme").startswith("model:@acme/")


PRIVATE = "@globex/models.globex.example/secret"


def events(tmp_path):
    story = StoryBuilder("names", START, tmp_path)
    push = story.push("mallory", "x/y", {}, revision="r1", publisher={"name": "p"})
    card = {"base_model": [f"model:{PRIVATE}", PRIVATE], "datasets": [f"dataset:{PRIVATE}"]}
    by_subject = story.push("mallory", "x/y", {}, revision="r1")
    return [
        _with(push, registry="@globex", repository="models.globex.example/secret"),
        _with(push, card=card, moved_from=f"model:{PRIVATE}"),
        _with(by_subject, subject=f"model:{PRIVATE}", registry=None, repository=None),
        story.install(
            "mallory",
            "ci",
            [package("@globex/secret", "1", publisher=f"publisher:{PRIVATE}")],
            locked=False,
            image=PRIVATE,
        ),
        story.run(
            "mallory",
            "train",
            stage="training",
            inputs=[
                {"component": f"model:{PRIVATE}", "revision": "r1"},
                {"component": "model:@globex/x"},
            ],
            outputs=[{"component": f"deployment:{PRIVATE}"}],
            data_sources=[
                {"url": f"https://{PRIVATE}", "provider": PRIVATE},
                {"name": PRIVATE, "provider": "@globex"},
            ],
        ),
    ]


def _with(event, subject=None, **data):
    body = {**msgspec.to_builtins(event.data), **data}
    return msgspec.structs.replace(
        event, subject=subject or event.subject, data=msgspec.convert(body, type(event.data))
    )


def keys_of(event):
    """Return every key that the checks make of an event."""
    knowledge = MemoryKnowledge()
    kind = type(event.data).__name__
    if kind == "RegistryPush":
        outcome = check_pushed(event, knowledge)
        subject = push_subject(event, knowledge.policy("mallory"))
        keys = [push_context(subject).component]
    elif kind == "PackageInstall":
        outcome = check_packages(event, knowledge)
        keys = [install_context(event).component]
    else:
        outcome = check_pipeline(event, knowledge)
        keys = []
    for sighting in outcome.sightings:
        # What a component is seen as is a component too, not a text of the event.
        assert sighting.name is None or sighting.name.partition(":")[0] in PREFIXES
        keys += [
            sighting.component,
            sighting.name or "",
            sighting.publisher or "",
            *sighting.made_from,
        ]
    for found in outcome.detections:
        keys += [found.component or "", *found.related_keys]
        keys += [found.indicator.key] if found.indicator else []
    return keys


@pytest.mark.parametrize("place", range(5))
def test_no_part_of_an_event_names_another_tenants_component(place, tmp_path):
    keys = keys_of(events(tmp_path)[place])
    assert any("@mallory/" in key for key in keys) or place == 1
    assert not [key for key in keys if key and is_foreign(key, "mallory")]


NAMES_OF_OTHERS = (
    PRIVATE,
    "@globex",
    f" MODEL:{PRIVATE}",
    f"model:@{PRIVATE}@r1",
    f"dataset:{PRIVATE}@sha256:{'a' * 64}",
    f"publisher:{PRIVATE}",
    f"https://hub.example/{PRIVATE}",
)


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        (PACKAGE_INSTALL, PackageInstall),
        (PIPELINE_RUN, PipelineRun),
        (REGISTRY_PUSH, RegistryPush),
    ],
)
def test_no_field_of_an_event_reaches_another_tenants_namespace(sample, kind):
    """Each text of a whole event in turn."""
    tried = 0
    for path in texts_of({**sample, "tenantid": None}):
        for name in NAMES_OF_OTHERS:
            changed = copy.deepcopy(sample) | {"tenantid": "mallory"}
            inner = changed
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = name
            try:
                event = msgspec.json.decode(msgspec.json.encode(changed), type=Event[kind])
            except msgspec.ValidationError:
                continue  # a time or a choice
            tried += 1
            foreign = [key for key in keys_of(event) if key and is_foreign(key, "mallory")]
            assert not foreign, (path, name)
    assert tried > 50


def texts_of(value, path=()):
    """Yield the places of all texts in a document."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for step, inner in items:
            yield from texts_of(inner, (*path, step))
