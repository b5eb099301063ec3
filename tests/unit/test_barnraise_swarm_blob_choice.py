"""Whom to ask for a blob: the gateway is spared, nobody waits for ever, and a liar costs a retry."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.swarm.blob_choice import (
    FAILURES_MAX,
    HEAD_START_S,
    WAIT_S,
    FromGateway,
    FromPeer,
    Has,
    Wait,
    choose,
    patience_s,
    ranked,
)
from barnraise.swarm.rate import Rate
from swarm_world import SwarmWorld

DIGEST = "b3:" + 64 * "c"
NAMES = st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=8), unique=True, max_size=20)


@given(NAMES, st.text(max_size=5))
@settings(deadline=None)
def test_ranks_depend_on_who_is_there_and_on_nothing_else(names: list[str], asker: str) -> None:
    order = ranked(DIGEST, names, asker)
    assert sorted(order) == sorted(names)
    assert ranked(DIGEST, list(reversed(names)), asker) == order
    if order:
        assert ranked(DIGEST, order[1:], asker) == order[1:]  # one that goes moves nobody else


def test_blobs_and_askers_have_orders_of_their_own() -> None:
    names = [f"node {number}" for number in range(64)]
    firsts = {ranked(f"b3:{number:064x}", names)[0] for number in range(64)}
    assert len(firsts) > 32
    assert len({ranked(DIGEST, names, asker)[0] for asker in names}) > 32


@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from(Has), max_size=8),
    st.integers(0, 1 << 40),
    st.floats(0, 1e6),
    st.integers(0, FAILURES_MAX),
)
@settings(deadline=None)
def test_every_decision_follows_from_the_answers(
    said: dict[str, Has], size: int, waited_s: float, failures: int
) -> None:
    decision = choose(DIGEST, size, "me", said, waited_s, failures)
    assert decision.reason
    whole = {peer for peer, has in said.items() if has is Has.WHOLE}
    match decision:
        case FromPeer(peer):
            assert peer in whole
            assert failures < FAILURES_MAX
        case Wait(wait_s):
            assert not whole
            assert wait_s == WAIT_S
            assert waited_s < max(HEAD_START_S, patience_s(size))
        case FromGateway():
            assert not whole or failures == FAILURES_MAX or waited_s >= patience_s(size)


def test_who_is_alone_does_not_wait() -> None:
    assert choose(DIGEST, 1, "me", {}, 0.0) == FromGateway("no other node is there")
    assert choose(DIGEST, 1, "me", {"a": Has.NOT, "b": Has.NOT}, 0.0) == FromGateway("none of 2 nodes has it")


def test_of_those_that_want_it_exactly_one_goes_to_the_gateway_at_once() -> None:
    names = {f"node {number}" for number in range(8)}
    at_once = [
        me
        for me in names
        if isinstance(choose(DIGEST, 1, me, dict.fromkeys(names - {me}, Has.WANTED), 0.0), FromGateway)
    ]
    assert at_once == [ranked(DIGEST, names)[0]]


@pytest.mark.parametrize("nodes", [8, 64])
def test_a_release_that_all_want_at_once_leaves_the_gateway_mostly_alone(nodes: int) -> None:
    ended = SwarmWorld(10_000_000).run({f"node {number}": 0.01 * number for number in range(nodes)})
    assert len(ended) == nodes
    gateway = sum(end.giver is None for end in ended.values())
    assert gateway <= 0.3 * nodes
    assert max(end.took_s for end in ended.values()) <= patience_s(10_000_000) + 1.0 + WAIT_S


@given(
    st.integers(2, 12),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11)),
    st.dictionaries(st.integers(0, 11), st.floats(0, 5)),
    st.floats(0.1, 30),
    st.lists(st.floats(0, 3), min_size=12, max_size=12),
)
@settings(deadline=None)
def test_whoever_stays_gets_it_in_bounded_time_whatever_others_do(
    nodes: int, liars: set[int], mute: set[int], leaves: dict[int, float], gateway_s: float, wanted: list[float]
) -> None:
    world = SwarmWorld(
        1_000_000,
        gateway_s,
        liars=frozenset(f"node {number}" for number in liars),
        mute=frozenset(f"node {number}" for number in mute - liars),
        leaves_at_s={f"node {number}": at_s for number, at_s in leaves.items()},
    )
    ended = world.run({f"node {number}": wanted[number] for number in range(nodes)})
    stayed = {f"node {number}" for number in range(nodes) if number not in liars | mute | set(leaves)}
    assert stayed <= set(ended)
    for end in ended.values():
        assert end.giver not in world.liars
        assert end.retries <= len(liars) + len(leaves)
        retrying_s = (end.retries + 1) * (world.peer_s + 0.1)
        assert end.took_s <= max(HEAD_START_S, patience_s(1_000_000)) + gateway_s + retrying_s + 2 * (WAIT_S + 0.1)


@given(st.floats(1.0, 1e9), st.lists(st.integers(1, 1 << 20), min_size=1, max_size=50))
@settings(deadline=None)
def test_no_more_goes_up_than_is_allowed(bytes_per_s: float, pieces: list[int]) -> None:
    rate, now_s = Rate(), 100.0
    rate.limit(bytes_per_s)
    for piece in pieces:
        now_s += rate.pause_s(piece, now_s)
    assert sum(pieces) <= bytes_per_s * (now_s - 100.0 + 1.0) * (1 + 1e-9) + 1e-6


def test_without_a_limit_nothing_waits() -> None:
    assert Rate().pause_s(1 << 40, 0.0) == 0.0
