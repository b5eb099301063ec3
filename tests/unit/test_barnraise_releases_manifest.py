"""Manifests, the index and keyframes: what is valid, and that only one encoding is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from barnraise.errors import BadNameError, MessageError, UnknownFieldError, VerificationError
from barnraise.releases.index import ReleaseIndex
from barnraise.releases.keyframe import keyframe_size, parse_keyframe, write_keyframe
from barnraise.releases.manifest import Manifest
from barnraise.updates import ParameterSpace, TensorSpec
from published import SPACE, published

FLAT = np.random.default_rng(0).standard_normal(SPACE.size, dtype=np.float32)


@pytest.fixture
def body(tmp_path: Path) -> dict[str, Any]:
    run = published(tmp_path, releases=1)
    return run.manifest("0.1.0", run.models["0.1.0"], None, run.entries[0].keyframe, None).model_dump(mode="json")


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"format": 2},
        {"version": "1.0"},
        {"version": "../1"},
        {"model_digest": "b3:" + "0" * 64},
        {"tensors": []},
        {"keyframe": None},
        {"patch": {"digest": "b3:" + "0" * 64, "size_bytes": 1}},
        {"reason": "x" * 5000},
        {"created_at_ms": -1},
        {"bump": "huge"},
    ],
)
def test_a_manifest_that_does_not_hold_together(body: dict[str, Any], change: dict[str, Any]) -> None:
    assert Manifest.read(body).model_dump(mode="json") == body
    with pytest.raises(UnknownFieldError):
        Manifest.read({**body, **change})


def test_a_test_that_got_worse_is_promised_and_makes_a_major_version(body: dict[str, Any]) -> None:
    worse = [{"test": "code", "reason": "faster"}, {"test": "prose", "reason": "faster"}]
    good = {
        **body,
        "supported_tests": ["code", "prose"],
        "accepted": worse,
        "bump": "major",
        "suite": body["config"]["digest"],
    }
    assert [one.test for one in Manifest.read(good).accepted] == ["code", "prose"]
    for change in (
        {"bump": "minor"},
        {"supported_tests": ["code"]},
        {"accepted": worse[::-1]},
        {"accepted": [worse[0], worse[0]]},
        {"accepted": [{"test": "code", "reason": ""}]},
        {"suite": "b3:1"},
    ):
        with pytest.raises(UnknownFieldError):
            Manifest.read({**good, **change})


def test_names_in_a_manifest(body: dict[str, Any]) -> None:
    with pytest.raises(BadNameError):
        Manifest.read({**body, "name": "../../etc"})
    for name in ("a/b", "a\x1b", "", "x" * 300):
        tensors = [{**body["tensors"][0], "name": name}, *body["tensors"][1:]]
        with pytest.raises(UnknownFieldError):
            Manifest.read({**body, "tensors": tensors})


@pytest.mark.parametrize("shape", [[-1], [0, 5], [1 << 60], [1 << 40, 1 << 40], [1] * 9])
def test_shapes_in_a_manifest_are_bounded(body: dict[str, Any], shape: list[int]) -> None:
    with pytest.raises(UnknownFieldError):
        Manifest.read({**body, "tensors": [{**body["tensors"][0], "shape": shape}, *body["tensors"][1:]]})


def test_tensors_are_sorted(body: dict[str, Any]) -> None:
    for tensors in (body["tensors"][::-1], [*body["tensors"], body["tensors"][-1]]):
        with pytest.raises(UnknownFieldError, match="sorted"):
            Manifest.read({**body, "tensors": tensors})


def test_an_index_that_does_not_hold_together(tmp_path: Path) -> None:
    index = published(tmp_path, releases=1).index().model_dump(mode="json")
    assert ReleaseIndex.read(index).entry("0.1.0").version == "0.1.0"
    for change in (
        {"releases": index["releases"] * 2},
        {"channels": {"stable": "9.9.9"}},
        {"channels": {"No Channel": "0.1.0"}},
        {"format": 2},
        {"unknown": 1},
    ):
        with pytest.raises(MessageError):
            ReleaseIndex.read({**index, **change})


def test_a_keyframe_is_a_safetensors_file() -> None:
    data = write_keyframe(SPACE, FLAT)
    assert len(data) == keyframe_size(SPACE)
    assert parse_keyframe(data, SPACE).tobytes() == FLAT.tobytes()
    tensors = load_safetensors(data)
    assert SPACE.flatten(tensors).tobytes() == FLAT.tobytes()


def test_a_keyframe_has_one_encoding() -> None:
    data = write_keyframe(SPACE, FLAT)
    header = len(data) - 4 * SPACE.size
    for position in range(header):
        with pytest.raises(VerificationError):
            parse_keyframe(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :], SPACE)
    for wrong in (b"", data[:-1], data + b"\0"):
        with pytest.raises(VerificationError):
            parse_keyframe(wrong, SPACE)
    with pytest.raises(VerificationError):
        parse_keyframe(data, ParameterSpace.of([TensorSpec("other", (SPACE.size,))]))
