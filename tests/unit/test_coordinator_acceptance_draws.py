"""Hidden draws: fixed before the round, checkable after it, uniform; and the pools that they are from."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.acceptance.hidden import draws
from coordinator.acceptance.hidden.draws import CHAIN_ROUNDS, Draw, SeedChain, anchor_after, check_draw, draw
from coordinator.acceptance.hidden.pools import Opening, PoolSecret, opens, pool_digest

CHAIN = SeedChain(b"\x07" * 32, rounds=64)
POOL = "b3:" + "0" * 64
SEEDS = st.binary(min_size=32, max_size=32)


def said(number: int, among: range, count: int, test: str = "loss") -> Draw:
    return Draw(number, test, POOL, draw(CHAIN.seed(number), POOL, test, among, count))


# The chain.


@given(last=SEEDS, rounds=st.integers(1, 40), data=st.data())
def test_every_seed_leads_to_the_anchor_and_to_the_seed_before(last: bytes, rounds: int, data: st.DataObject) -> None:
    chain = SeedChain(last, rounds)
    number = data.draw(st.integers(1, rounds))
    assert anchor_after(chain.seed(number), number) == chain.anchor
    if number > 1:
        assert anchor_after(chain.seed(number), number, number - 1) == chain.seed(number - 1)


def test_all_seeds_differ_and_none_is_the_anchor() -> None:
    seeds = {CHAIN.seed(number) for number in range(1, CHAIN.rounds + 1)}
    assert len(seeds) == CHAIN.rounds
    assert CHAIN.anchor not in seeds


def test_a_new_chain_is_drawn_by_lot_and_is_long() -> None:
    assert SeedChain.new() != SeedChain.new()
    assert SeedChain.new().rounds == CHAIN_ROUNDS


def test_a_chain_does_not_show_its_secret() -> None:
    assert "07" not in repr(CHAIN)
    assert repr(PoolSecret(b"\x07" * 32)) == "PoolSecret()"


def test_there_is_no_round_beyond_the_chain() -> None:
    with pytest.raises(AssertionError, match="publish a new anchor"):
        CHAIN.seed(65)


# The draw.


@given(seed=SEEDS, size=st.integers(1, 200), data=st.data())
def test_a_draw_is_a_subset_without_repeats_and_begins_with_every_shorter_one(
    seed: bytes, size: int, data: st.DataObject
) -> None:
    among = sorted(data.draw(st.sets(st.integers(0, 1000), min_size=1, max_size=size)))
    count = data.draw(st.integers(0, len(among)))
    drawn = draw(seed, POOL, "loss", among, count)
    assert len(set(drawn)) == count
    assert set(drawn) <= set(among)
    assert draw(seed, POOL, "loss", among, count // 2) == drawn[: count // 2]


def test_a_draw_is_the_same_on_every_machine() -> None:
    assert CHAIN.anchor.hex() == "a7ff550a16ab2041014d74cb05405d7b6e41d9a81f8fadd44b8cff8e6890677f"
    assert draw(CHAIN.seed(3), POOL, "loss", range(1000), 8) == (44, 533, 113, 309, 575, 54, 70, 329)


def test_a_draw_takes_more_words_than_one_block() -> None:
    assert sorted(draw(CHAIN.seed(1), POOL, "loss", range(300), 300)) == list(range(300))


@pytest.mark.parametrize(("pool", "test", "number"), [("b3:1", "loss", 1), (POOL, "los", 1), (POOL, "loss", 2)])
def test_another_pool_test_or_round_is_another_draw(pool: str, test: str, number: int) -> None:
    known = draw(CHAIN.seed(1), POOL, "loss", range(10_000), 32)
    assert not set(draw(CHAIN.seed(number), pool, test, range(10_000), 32)) & set(known[:8])


def chi_square(counts: Counter[tuple[int, ...]], cells: int, total: int) -> float:
    """How far off uniform, in standard deviations of a chi-square with ``cells - 1`` degrees of freedom."""
    assert len(counts) <= cells
    expected = total / cells
    square = sum((counts[cell] - expected) ** 2 / expected for cell in counts) + (cells - len(counts)) * expected
    return (square - (cells - 1)) / math.sqrt(2 * (cells - 1))


def test_every_subset_and_order_is_equally_likely() -> None:
    total = 6_000
    seeds = [number.to_bytes(32, "little") for number in range(total)]
    ordered = Counter(draw(seed, POOL, "loss", range(5), 3) for seed in seeds)
    assert abs(chi_square(ordered, 60, total)) < 4
    subsets = Counter[tuple[int, ...]]()
    for drawn, count in ordered.items():
        subsets[tuple(sorted(drawn))] += count
    assert set(subsets) == set(combinations(range(5), 3))
    assert abs(chi_square(subsets, 10, total)) < 4


def test_draws_of_following_rounds_are_independent() -> None:
    chain, total = SeedChain(b"\x01" * 32, rounds=2_000), 2_000
    seeds = [chain.last]
    for number in range(total, 1, -1):
        seeds.append(anchor_after(seeds[-1], number, number - 1))
    firsts = [draw(seed, POOL, "loss", range(6), 1)[0] for seed in seeds]
    pairs = Counter(zip(firsts[::2], firsts[1::2], strict=True))
    assert abs(chi_square(pairs, 36, total // 2)) < 4
    tests = Counter(
        (draw(seed, POOL, "other", range(6), 1)[0], first) for seed, first in zip(seeds, firsts, strict=True)
    )
    assert abs(chi_square(tests, 36, total)) < 4


def test_no_place_is_likelier_where_a_remainder_would_make_it_so() -> None:
    """Words in the incomplete last stretch are passed over, for they would all hit the first places."""
    bound = 3 << 62
    assert draws._below(bound, iter([bound + 5, (1 << 64) - 1, bound - 1])) == bound - 1
    assert draws._below(3, iter([(1 << 64) - 1, 5])) == 2  # 2^64 is one more than a multiple of 3


# Checking a draw.


@settings(max_examples=30)
@given(number=st.integers(1, 64), count=st.integers(1, 20), data=st.data())
def test_anybody_can_check_a_draw(number: int, count: int, data: st.DataObject) -> None:
    among = range(100)
    record = said(number, among, count)
    assert check_draw(CHAIN.anchor, CHAIN.seed(number), record, among).holds
    place = data.draw(st.integers(0, count - 1))
    other = (record.indices[place] + 1) % 100
    forged = Draw(number, "loss", POOL, (*record.indices[:place], other, *record.indices[place + 1 :]))
    found = check_draw(CHAIN.anchor, CHAIN.seed(number), forged, among)
    assert not found.holds
    assert f"{count - 1} of {count} places are as the seed says" in found.reason


@pytest.mark.parametrize(
    ("seed", "number"), [(b"\x00" * 32, 5), (CHAIN.seed(6), 5), (CHAIN.seed(4), 5), (CHAIN.seed(5), 4)]
)
def test_a_seed_that_was_not_committed_to_is_found_out(seed: bytes, number: int) -> None:
    record = Draw(number, "loss", POOL, draw(seed, POOL, "loss", range(50), 5))
    found = check_draw(CHAIN.anchor, seed, record, range(50))
    assert not found.holds
    assert "does not lead to the anchor" in found.reason


@pytest.mark.parametrize("number", [0, -1, CHAIN_ROUNDS + 1])
def test_there_is_no_draw_outside_the_chain(number: int) -> None:
    record = Draw(number, "loss", POOL, draw(CHAIN.anchor, POOL, "loss", range(50), 5))
    assert not check_draw(CHAIN.anchor, CHAIN.anchor, record, range(50)).holds


def test_another_number_of_examples_left_is_found_out() -> None:
    record = said(2, range(100), 8)
    assert not check_draw(CHAIN.anchor, CHAIN.seed(2), record, range(90)).holds
    assert not check_draw(CHAIN.anchor, CHAIN.seed(2), record, range(4)).holds


# Pools.

EXAMPLES = [b"one", b"two", b"two", b""]
SECRET = PoolSecret(b"\x05" * 32)


def test_an_opened_example_is_the_one_that_was_committed_to() -> None:
    shown = SECRET.commitments("loss", EXAMPLES)
    assert all(opens(shown, SECRET.open("loss", index, example)) for index, example in enumerate(EXAMPLES))
    assert not opens(shown, SECRET.open("loss", 0, b"two"))
    assert not opens(shown, SECRET.open("loss", 1, b"one"))
    assert not opens(shown, SECRET.open("other", 0, b"one"))
    assert not opens(shown, Opening(4, b"\x00" * 32, b"one"))
    assert not opens(shown, Opening(-1, b"\x00" * 32, b"one"))
    assert not opens(shown, Opening(0, b"", b"one"))


def test_commitments_do_not_tell_equal_examples_or_known_text() -> None:
    shown = SECRET.commitments("loss", EXAMPLES)
    assert len(set(shown)) == len(EXAMPLES)
    assert set(shown).isdisjoint(PoolSecret(b"\x06" * 32).commitments("loss", EXAMPLES))


def test_a_pool_is_named_by_all_of_its_examples_in_order() -> None:
    shown = SECRET.commitments("loss", EXAMPLES)
    assert pool_digest(shown).startswith("b3:")
    assert len({pool_digest(shown), pool_digest(shown[::-1]), pool_digest(shown[1:])}) == 3
