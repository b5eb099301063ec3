"""Records of the swarm: what was signed comes back, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import canonical_json
from barnraise.errors import BadSignatureError, ClockSkewError, MessageError, OversizedMessageError, UnknownFieldError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.swarm.records import (
    BEACON_FOR_MS,
    CLOCK_MAY_DIFFER_MS,
    PROGRESS_FOR_MS,
    RECORD_MAX_BYTES,
    Beacon,
    NodeProgress,
    beacon_key,
    nodes_key,
    open_beacon,
    open_progress,
    pack,
    progress_subkey,
)

COORDINATOR, ADA, MALLORY = (Identity.from_seed(bytes([n] * 32)) for n in (1, 2, 3))
NOW = 1_800_000_000_000
PEER = "12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
ADDRESS = f"/ip4/203.0.113.5/tcp/4001/p2p/{PEER}"


def beacon(**changes: Any) -> Beacon:
    told: dict[str, Any] = {
        "run": "r",
        "gateways": ("https://example.org",),
        "newest": "0.1.2",
        "bootstrap": (ADDRESS,),
        "at_ms": NOW,
        "expires_at_ms": NOW + BEACON_FOR_MS,
    }
    return Beacon.read({**told, **changes})


def progress(**changes: Any) -> NodeProgress:
    told: dict[str, Any] = {
        "run": "r",
        "name": "ada",
        "peer": PEER,
        "barnraise": "0.1.0",
        "doing": "training",
        "round": 3,
        "step": 4,
        "steps": 20,
        "at_ms": NOW,
        "expires_at_ms": NOW + PROGRESS_FOR_MS,
    }
    return NodeProgress.read({**told, **changes})


def read(data: bytes, now_ms: int = NOW) -> Beacon:
    return open_beacon(data, "r", COORDINATOR.public, now_ms)


def test_what_was_signed_comes_back() -> None:
    assert read(pack(beacon(), COORDINATOR)) == beacon()
    name = progress_subkey(ADA.public, PEER)
    assert open_progress(pack(progress(), ADA), "r", name, NOW) == (ADA.public, progress())


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_byte_can_be_changed(at: int, to: int) -> None:
    data = bytearray(pack(beacon(), COORDINATOR))
    at %= len(data)
    if data[at] == to:
        return
    data[at] = to
    with pytest.raises(MessageError):
        read(bytes(data))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_strangers_are_refused_in_one_family(data: bytes) -> None:
    with pytest.raises(MessageError):
        read(data)
    with pytest.raises(MessageError):
        open_progress(data, "r", "subkey", NOW)


def test_nothing_large_is_parsed() -> None:
    with pytest.raises(OversizedMessageError, match=f"at most {RECORD_MAX_BYTES:,}"):
        read(b"[" * (RECORD_MAX_BYTES + 1))
    with pytest.raises(OversizedMessageError):
        pack(beacon(bootstrap=tuple(f"/dns4/{'a' * 230}/tcp/1/p2p/{PEER}" for _ in range(16))), COORDINATOR)


def test_a_beacon_is_its_coordinators_of_its_run() -> None:
    with pytest.raises(BadSignatureError, match="signed by key"):
        read(pack(beacon(), MALLORY))
    with pytest.raises(BadSignatureError, match="another run"):
        read(pack(beacon(run="s"), COORDINATOR))
    with pytest.raises(BadSignatureError):  # what is signed as something else is no beacon
        read(pack(progress(), COORDINATOR))


def test_progress_is_under_its_own_name() -> None:
    for name in (progress_subkey(MALLORY.public, PEER), progress_subkey(ADA.public, PEER[:-1] + "W"), ADA.public, ""):
        with pytest.raises(BadSignatureError, match="not its own"):
            open_progress(pack(progress(), ADA), "r", name, NOW)


def test_what_is_over_is_over_and_passed_on_a_little_longer() -> None:
    data, after = pack(beacon(), COORDINATOR), NOW + BEACON_FOR_MS + 1000
    read(data, NOW + BEACON_FOR_MS)
    with pytest.raises(ClockSkewError, match="over since 1 s"):
        read(data, after)
    open_beacon(data, "r", COORDINATOR.public, after, slack_ms=1000)


def test_the_future_is_refused_and_the_clock_named() -> None:
    data = pack(beacon(), COORDINATOR)
    read(data, NOW - CLOCK_MAY_DIFFER_MS)
    with pytest.raises(ClockSkewError, match=r"121 s in the future.*clock"):
        read(data, NOW - CLOCK_MAY_DIFFER_MS - 1000)


def test_nothing_is_made_to_last() -> None:
    for record in (beacon(expires_at_ms=NOW + BEACON_FOR_MS + 1), beacon(expires_at_ms=1 << 50)):
        with pytest.raises(ClockSkewError, match="made to last"):
            read(pack(record, COORDINATOR))


@pytest.mark.parametrize(
    "changes",
    [
        {"gateways": ()},
        {"gateways": ("ftp://example.org",)},
        {"gateways": ("http://a@b",)},
        {"gateways": ("http://a",) * 9},
        {"bootstrap": ("/ip4/1.2.3.4/tcp/1",)},
        {"bootstrap": (ADDRESS,) * 17},
        {"newest": "a b"},
        {"extra": 1},
    ],
)
def test_a_beacon_of_another_form_is_none(changes: dict[str, Any]) -> None:
    body = {**beacon().model_dump(mode="json"), **changes}
    signed = Signed(body=body, key=COORDINATOR.public, signature=COORDINATOR.sign(Beacon.kind, canonical_json(body)))
    with pytest.raises(UnknownFieldError):
        read(canonical_json(signed.model_dump(mode="json")))


def test_runs_of_one_name_never_meet() -> None:
    keys = {make(run, who.public) for make in (beacon_key, nodes_key) for run in "rs" for who in (COORDINATOR, ADA)}
    assert len(keys) == 8
