"""The topology says what the built applications do, and the manifests follow it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from schemas.channels import Channel
from streams.apps.topology import APPLICATIONS, CLIENTS, EVENT_CHANNELS, load_app, written_channels
from streams.kafka.topics import TENANT_CHANNELS, TOPICS, Direction
from streams.settings import load_settings

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_binds_what_the_topology_says(name, tmp_path):
    settings = load_settings(kafka="127.0.0.1:1", state_dir=tmp_path)
    declared, built = APPLICATIONS[name], load_app(name, settings)
    bound = [channel for binding in built.bindings for channel in binding.channels]
    assert sorted(bound) == sorted(declared.reads)
    assert [reference.channel for reference in built.references] == list(declared.references)
    states = [binding.channels[0] for binding in built.bindings if binding.rows]
    assert states == ([declared.state] if declared.state else [])


def test_a_channel_commits_the_progress_of_one_application():
    read = [channel for application in APPLICATIONS.values() for channel in application.reads]
    internal = [channel for channel in read if channel is not Channel.INTEL]
    assert len(internal) == len(set(internal))


def test_every_channel_is_written_by_an_application_or_comes_from_outside():
    written = {channel for app in APPLICATIONS.values() for channel in written_channels(app)}
    written |= {channel for client in CLIENTS.values() for channel in client.writes}
    inward = {channel for channel, spec in TOPICS.items() if spec.direction is Direction.IN}
    assert written.isdisjoint(inward)
    assert written | inward == set(Channel)
    assert set(EVENT_CHANNELS) <= inward
    assert written >= TENANT_CHANNELS


def test_the_manifests_run_exactly_the_applications():
    kubernetes = DEPLOY / "kubernetes" / "apps"
    assert {path.name for path in kubernetes.iterdir()} == set(APPLICATIONS)
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(APPLICATIONS) == set(services) - {"kafka", "topics"}
