"""Stores the last seen values of compacted channels, for scans without a broker."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.channels import Channel
from streams.private_files import private_folder

KEPT = frozenset({Channel.INTEL, Channel.POLICY})
"""Channels that scans use: intelligence and policies."""


def _place(state_dir: Path, channel: Channel) -> Path:
    return state_dir / "held" / f"{channel.value}.json"


def held_values(state_dir: Path, channel: Channel) -> dict[str, bytes]:
    """Return the stored values of a channel by key; empty if there are none.

    Args:
        state_dir: The state folder.
        channel: The channel.
    """
    try:
        raw = _place(state_dir, channel).read_bytes()
        values = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError):
        return {}
    return {key: bytes(value) for key, value in values.items()}


def hold_values(state_dir: Path, channel: Channel, values: Mapping[str, bytes]) -> None:
    """Store the values of a channel; if the disk refuses, scans lack them.

    Args:
        state_dir: The state folder.
        channel: The channel; only those that scans use are stored.
        values: All its values by key, in JSON.
    """
    if channel not in KEPT:
        return
    place = _place(state_dir, channel)
    kept: dict[str, msgspec.Raw] = {}
    for key, value in values.items():
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError:  # no worker can read it either
            continue
        kept[key] = msgspec.Raw(value)
    try:
        private_folder(place.parent)
        handle, name = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(kept))
        Path(name).replace(place)
    except OSError:
        return


def update_held(state_dir: Path, channel: Channel, values: Mapping[str, bytes | None]) -> None:
    """Add values to those stored of a channel; None deletes one."""
    if channel not in KEPT or not values:
        return
    held = held_values(state_dir, channel)
    for key, value in values.items():
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value
    hold_values(state_dir, channel, held)
