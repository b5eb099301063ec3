"""A team's key, the numbers that show whether averaging happened, and when a member begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.errors import ConfigMissingError, ConfigValueError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.swarm.team_checks import (
    Member,
    Together,
    draw_of,
    fault_of_result,
    fault_of_shares,
    leader_of,
    members_of,
    stated,
)
from barnraise.swarm.team_key import TeamKey, seal
from barnraise.swarm.team_meeting import HOLDS_MS, found_addresses, left_addresses
from barnraise.swarm.team_waiting import Begin, GoAlone, KeepWaiting, averaging_may_take_s, begin_or_wait
from barnraise.team_messages import TeamShare

KEY = TeamKey(b"k" * 32)
SIZE = 5000
TOGETHER = Together("tiny", 3, "b3:" + "1" * 64, SIZE)
KEYS = [Identity.from_seed(bytes([number] * 32)) for number in range(1, 6)]


# -- the key ------------------------------------------------------------------------------------


def test_a_key_is_the_same_when_it_is_read_back_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made = TeamKey.create(tmp_path / "team.key")
    assert TeamKey.load(tmp_path / "team.key") == made
    assert (tmp_path / "team.key").stat().st_mode & 0o777 == 0o600
    assert TeamKey.create(tmp_path / "other.key").fingerprint != made.fingerprint
    assert made.secret.hex() not in repr(made) + repr(made.secrets_for("a", "b")) + made.fingerprint.replace(" ", "")


def test_a_key_is_never_written_over_another(tmp_path: Path) -> None:
    made = TeamKey.create(tmp_path / "team.key")
    with pytest.raises(ConfigValueError, match="nothing was changed"):
        TeamKey.create(tmp_path / "team.key")
    assert TeamKey.load(tmp_path / "team.key") == made


@pytest.mark.parametrize("text", ["", "barnraise team key 1\n", "barnraise team key 2\n" + "0" * 64, "x" * 9000])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "team.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigValueError, match="holds no team key"):
        TeamKey.load(path)


def test_a_key_that_others_can_read_is_refused_and_a_missing_one_is_explained(tmp_path: Path) -> None:
    TeamKey.create(tmp_path / "team.key")
    (tmp_path / "team.key").chmod(0o640)
    with pytest.raises(ConfigValueError, match="chmod 600"):
        TeamKey.load(tmp_path / "team.key")
    with pytest.raises(ConfigMissingError, match="barnraise team new"):
        TeamKey.load(tmp_path / "nothing")


def test_every_run_team_and_purpose_has_secrets_of_its_own() -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "b"), ("ab", ""), ("", "ab")]
    found = [KEY.secrets_for(run, team) for run, team in pairs]
    every = [each for one in found for each in (one.access, one.words, one.meeting, one.name)]
    assert len(set(every)) == 4 * len(pairs)
    assert found[0].place("round", 1) != found[0].place("round", 2)
    assert found[0].place("x") != found[1].place("x")


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
@settings(deadline=None)
def test_a_seal_is_of_these_parts_alone(one: list[bytes], other: list[bytes]) -> None:
    assert (seal(b"s", *one) == seal(b"s", *other)) == (one == other)


# -- addresses in the open swarm ---------------------------------------------------------------

PLACE = KEY.secrets_for("tiny", "friends").place("meeting")
SECRET = KEY.secrets_for("tiny", "friends").meeting
GOOD = "/ip4/10.0.0.4/tcp/4002/p2p/12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"


def test_members_read_what_members_leave_and_nobody_else_does() -> None:
    word = left_addresses(SECRET, PLACE, [GOOD, "nowhere"], 10**9)
    assert found_addresses(SECRET, PLACE, word, 10**9) == (GOOD,)
    assert GOOD.encode() not in word
    assert word != left_addresses(SECRET, PLACE, [GOOD, "nowhere"], 10**9)
    other = KEY.secrets_for("tiny", "others").meeting
    assert found_addresses(other, PLACE, word, 10**9) == ()
    assert found_addresses(SECRET, "0" * 32, word, 10**9) == ()
    for late_ms in (HOLDS_MS + 1, -200_000):
        assert found_addresses(SECRET, PLACE, word, 10**9 + late_ms) == ()


@given(st.binary(max_size=64), st.integers(0, 200))
@settings(deadline=None)
def test_what_strangers_leave_or_alter_is_nothing(noise: bytes, at: int) -> None:
    word = bytearray(left_addresses(SECRET, PLACE, [GOOD], 5))
    word[at % len(word)] ^= 1
    for one in (noise, bytes(word), b"", bytes(word) * 100):
        assert found_addresses(SECRET, PLACE, one, 5) == ()


# -- did averaging happen? ------------------------------------------------------------------------


def member(number: int, vector_P: NDArray[np.float32], tokens: int, **changes: object) -> Member:
    norm, probes = stated(TOGETHER, vector_P)
    told = {
        "run": "tiny",
        "lease_id": f"{number:032x}",
        "round": 3,
        "base_digest": TOGETHER.base_digest,
        "size": SIZE,
        "tokens": tokens,
        "examples": 8,
        "steps": 2,
        "norm": norm,
        "probes": probes,
        "at_ms": 5,
    }
    share = TeamShare(**(told | changes))
    return Member(KEYS[number].public, share, Signed.make(share, KEYS[number]))


def vectors(seed: int, count: int, scale: float = 1e-3) -> list[NDArray[np.float32]]:
    draws = np.random.default_rng(seed)
    return [(scale * draws.standard_normal(SIZE)).astype(np.float32) for _ in range(count)]


def averaged(each: list[NDArray[np.float32]], weights: list[int]) -> NDArray[np.float32]:
    """As hivemind does it: summed up in float32, and the difference to one's own added to one's own."""
    total_P = np.zeros(SIZE, dtype=np.float32)
    for weight, vector_P in zip(weights, each, strict=True):
        total_P += np.float32(weight) * vector_P
    mean_P = total_P / np.float32(sum(weights))
    return each[0] + (mean_P - each[0])


@given(st.integers(2, 5), st.integers(0, 1 << 30), st.floats(-8, 3), st.data())
@settings(deadline=None, max_examples=60)
def test_an_average_is_taken_whatever_it_is_of(count: int, seed: int, power: float, data: st.DataObject) -> None:
    weights = [data.draw(st.integers(1, 1 << 22)) for _ in range(count)]
    each = vectors(seed, count, 10.0**power)
    members = [member(i, each[i], weights[i]) for i in range(count)]
    assert fault_of_shares(TOGETHER, members, KEYS[0].public) == ""
    assert fault_of_result(TOGETHER, members, averaged(each, weights)) == ""


def _eight_bits(mean_P: NDArray[np.float32]) -> NDArray[np.float32]:
    step = np.abs(mean_P).max() / 127
    return (np.round(mean_P / step) * step).astype(np.float32)


@pytest.mark.parametrize(
    "broken",
    [
        lambda each, mean_P: each[0],
        lambda each, mean_P: averaged(each[:2], [100, 300]),
        lambda each, mean_P: averaged(each, [1, 1, 1]),
        lambda each, mean_P: np.concatenate([mean_P[:-40], each[0][-40:]]),
        lambda each, mean_P: _eight_bits(mean_P),
        lambda each, mean_P: mean_P.astype(np.float16).astype(np.float32),
        lambda each, mean_P: np.zeros(SIZE, dtype=np.float32),
        lambda each, mean_P: np.roll(mean_P, 1),
    ],
    ids=["own", "one-missing", "weights", "part-missing", "8-bit", "16-bit", "nothing", "shifted"],
)
def test_anything_else_is_noticed(broken: object) -> None:
    each, weights = vectors(1, 3), [100, 300, 50]
    members = [member(i, each[i], weights[i]) for i in range(3)]
    result_P = broken(each, averaged(each, weights))  # type: ignore[operator]
    assert "is not the average of 3 members" in fault_of_result(TOGETHER, members, result_P)


def test_a_result_with_a_nan_or_of_another_shape_is_noticed() -> None:
    each = vectors(2, 2)
    members = [member(i, each[i], 1) for i in range(2)]
    mean_P = averaged(each, [1, 1])
    mean_P[17] = np.nan
    assert "NaN" in fault_of_result(TOGETHER, members, mean_P)
    assert f"{SIZE:,} were put in" in fault_of_result(TOGETHER, members, mean_P[:-1])


def test_shares_that_do_not_belong_together_are_named() -> None:
    each = vectors(3, 2)
    ada, bob = member(0, each[0], 10), member(1, each[1], 10)
    own = ada.key
    assert "1 members" in fault_of_shares(TOGETHER, [ada], own)
    assert "one's own share" in fault_of_shares(TOGETHER, [bob, member(2, each[1], 1)], own)
    assert "twice" in fault_of_shares(TOGETHER, [ada, ada], own)
    for name, value in (("round", 4), ("size", SIZE + 1), ("base_digest", "b3:" + "2" * 64), ("run", "other")):
        fault = fault_of_shares(TOGETHER, [ada, member(1, each[1], 10, **{name: value})], own)
        assert bob.key[:8] in fault
        assert name in fault
    assert "no tokens" in fault_of_shares(TOGETHER, [ada, member(1, each[1], 0)], own)


def test_a_share_that_its_member_did_not_sign_is_none_and_no_share_holds_a_nan() -> None:
    ada, bob = (member(i, vectors(4, 2)[i], 10) for i in range(2))
    forged = bob.signed.model_copy(update={"body": {**bob.signed.body, "tokens": 10**6}})
    assert "is none" in str(members_of([ada.signed, forged]))
    nan = {**bob.signed.body, "probes": [float("nan")] * 4}
    assert "is none" in str(members_of([bob.signed.model_copy(update={"body": nan})]))
    opened = members_of([bob.signed, ada.signed])
    assert not isinstance(opened, str)
    assert [one.key for one in opened] == sorted([ada.key, bob.key])
    assert leader_of(opened) == min(ada.key, bob.key)


def test_probes_follow_from_what_is_averaged_and_from_nothing_else() -> None:
    vector_P = vectors(5, 1)[0]
    found = draw_of(TOGETHER).products(vector_P)
    assert found == draw_of(TOGETHER).products(vector_P)
    assert found != draw_of(replace(TOGETHER, round=4)).products(vector_P)
    signs = [draw_of(TOGETHER).products(row) for row in np.eye(64, SIZE, dtype=np.float32)]
    assert {abs(one) for row in signs for one in row} == {1.0}
    assert len({tuple(row) for row in signs}) > 8


# -- when to begin --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "waited_s", "kind", "words"),
    [
        (["ready", "ready"], 0.0, Begin, "all 3 members"),
        (["ready", "gone"], 0.0, Begin, "all 2 members"),
        (["ready", "training"], 5.0, KeepWaiting, "waiting for 1 of 3 members, 25 s more"),
        (["ready", "training"], 30.0, Begin, "2 members are ready; 1 did not come within 30 s"),
        (["training"], 31.0, GoAlone, "1 other member still trained after 30 s"),
        ([], 0.0, KeepWaiting, "not|no other member was heard of yet"),
        ([], 3.0, GoAlone, "no other member"),
        (["gone"], 3.0, GoAlone, "1 went before"),
    ],
)
def test_a_member_begins_waits_or_goes_alone(others: list[str], waited_s: float, kind: type, words: str) -> None:
    doings = {f"m{number}": doing for number, doing in enumerate(others)} | {"me": "ready"}
    found = begin_or_wait(doings, "me", waited_s, 30.0)
    assert isinstance(found, kind)
    assert any(word in found.reason for word in words.split("|"))


@given(st.dictionaries(st.text(max_size=3), st.sampled_from(["training", "ready", "gone", "?"])), st.floats(0, 60))
@settings(deadline=None)
def test_nobody_waits_longer_than_its_owner_allows(doings: dict[str, str], wait_s: float) -> None:
    assert not isinstance(begin_or_wait(doings, "me", max(wait_s, 0.0), wait_s), KeepWaiting)


def test_a_large_vector_may_take_longer() -> None:
    assert 60 < averaging_may_take_s(1000, 2) < averaging_may_take_s(10**8, 2) < averaging_may_take_s(10**8, 8)
