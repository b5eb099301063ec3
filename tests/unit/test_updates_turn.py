"""Laws of elements in turn: which they are, what an update of them says, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from barnraise import native
from barnraise.errors import ConfigValueError, UnsupportedFormatError, UpdateError
from barnraise.update_config import CodecConfig, LoraConfig, MaskConfig, UpdateConfig
from barnraise.updates import ParameterSpace, TensorSpec, Turn, Update, apply_update, asked_carrier
from barnraise.updates.scope import TURN_END, TURNS, Scope
from contributor.unit import Wanted, finish_unit
from merge.compress import compress
from update_samples import (
    BASE,
    CODECS,
    check_change,
    check_no_other_byte,
    codec_id,
    content,
    edited,
    make_file,
    random_change,
)

every_codec = pytest.mark.parametrize("codec", CODECS, ids=codec_id)
ONE_BIT = CodecConfig(name="blockwise", bits=1)
# More than one segment, full, short and no chunks, and a segment that ends within a tensor.
SPACE = ParameterSpace.of(
    [*(TensorSpec(f"t{i:03}", (1 + i % 3,)) for i in range(255)), TensorSpec("w", (70, 60)), TensorSpec("x", (0, 3))]
)
LONG = ParameterSpace.of([TensorSpec("w", (7, 4096)), TensorSpec("x", (4099,)), TensorSpec("y", (5,))])

turns_of = st.sampled_from(TURNS)
spaces = st.one_of(
    st.sampled_from([SPACE, LONG]),
    st.lists(st.integers(0, 5000), min_size=1, max_size=6)
    .filter(any)
    .map(lambda sizes: ParameterSpace.of([TensorSpec(f"t{i}", (size,)) for i, size in enumerate(sizes)])),
)


def places(turn: Turn) -> np.ndarray:
    """Where in the whole model the elements lie that have their turn."""
    whole = turn.whole
    return np.concatenate(
        [whole.segment_range(segment)[0] + turn.positions(segment) for segment in range(whole.segment_count)]
    )


@settings(deadline=None, max_examples=40)
@given(space=spaces, turns=turns_of, data=st.data())
def test_in_a_cycle_every_element_has_one_turn(space, turns, data):
    cycle = data.draw(st.integers(0, TURN_END // turns - 1))
    seen = np.zeros(space.size, dtype=np.int64)
    for number in range(cycle * turns, (cycle + 1) * turns):
        found = places(Turn(space, turns, number))
        assert (np.diff(found) > 0).all()
        seen[found] += 1
    assert (seen == 1).all()


@settings(deadline=None, max_examples=25)
@given(space=spaces, turns=turns_of, number=st.integers(0, TURN_END - 1))
def test_every_block_has_one_element_in_every_round_unless_it_is_short(space, turns, number):
    found, starts = places(Turn(space, turns, number)), space.tensor_starts.tolist()
    for start, end in pairwise(starts):
        inside = found[np.searchsorted(found, start) : np.searchsorted(found, end)] - start
        blocks = (inside // turns).tolist()
        full = (end - start) // turns
        assert blocks[:full] == list(range(full))
        assert blocks[full:] in ([], [full])


def drawn(turns: int, number: int, block: int) -> int:
    """Which element of a block has its turn, one number at a time, as the format has it."""
    mask = (1 << 64) - 1

    def mixed(state: int) -> int:
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ state >> 27) * 0x94D049BB133111EB & mask
        return state ^ state >> 31

    cycle, within = divmod(number, turns)
    return (within - mixed((mixed(cycle + 1) + (block + 1) * 0x9E3779B97F4A7C15) & mask)) % turns


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("number", [0, 7, 100, 12345, TURN_END - 1])
def test_which_elements_these_are_does_not_change(turns, number):
    """Else nobody could read older updates: the blocks of all tensors are numbered one after the other."""
    wanted, block = [], 0
    for spec, start in zip(SPACE.tensors, SPACE.tensor_starts.tolist(), strict=False):
        for begin in range(0, spec.size, turns):
            place = begin + drawn(turns, number, block)
            wanted += [start + place] if place < spec.size else []
            block += 1
    assert places(Turn(SPACE, turns, number)).tolist() == wanted


def test_the_first_rounds_of_a_small_model_are_written_down():
    space = ParameterSpace.of([TensorSpec("w", (24,)), TensorSpec("x", (3,))])
    assert [places(Turn(space, 8, number)).tolist() for number in (0, 1, 8)] == [[6, 9, 17], [7, 10, 18], [2, 11, 20]]


def test_every_place_is_as_likely_and_cycles_do_not_repeat_each_other():
    space = ParameterSpace.of([TensorSpec("w", (64, 4096))])
    before, now = (places(Turn(space, 8, number)) % 8 for number in (80, 88))
    blocks = space.size // 8
    for place in range(8):
        assert abs((now == place).sum() - blocks / 8) < 6 * (blocks * 7 / 64) ** 0.5
    for same in (before == now, now[1:] == now[:-1]):
        assert abs(same.mean() - 1 / 8) < 6 * (7 / 64 / len(same)) ** 0.5


@settings(deadline=None, max_examples=25)
@given(space=spaces, turns=turns_of, number=st.integers(0, 200))
def test_segments_hold_what_those_of_the_whole_hold_of_it(space, turns, number):
    turn, flat = Turn(space, turns, number), np.arange(space.size, dtype=np.float32)
    own = turn.cut(flat)
    assert own.tolist() == places(turn).tolist()
    assert turn.space.segment_count == space.segment_count
    assert len(own) == turn.space.size == sum(turn.per_tensor)
    back = np.full_like(flat, -1.0)
    turn.put(own, back)
    for segment in range(space.segment_count):
        start, end = space.segment_range(segment)
        first, last = turn.space.segment_range(segment)
        taken = turn.take(segment, flat[start:end])
        assert taken.tolist() == own[first:last].tolist()
        expanded = turn.expand(segment, lambda start, end: own[start:end])
        assert expanded.tolist() == np.where(back[start:end] >= 0, flat[start:end], 0).tolist()
    assert turn.target is space
    assert all(turn.chosen)


@every_codec
@pytest.mark.parametrize("compiled", [True, False])
def test_an_update_says_what_has_its_turn_and_no_more(codec, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(native, "available", lambda: False)
    turn = Turn(SPACE, 4, 7)
    change_Q = random_change(turn.space)
    _, decoded_Q = compress(torch.from_numpy(change_Q), turn.space, codec)
    wanted = np.zeros(SPACE.size, dtype=np.float32)
    wanted[places(turn)] = decoded_Q.numpy()
    update = Update.parse(make_file(SPACE, codec, change_Q, turn), SPACE, base_digest=BASE)
    check_change(update, wanted)
    assert update.scope == Scope(turns=4, turn=7)
    base = random_change(SPACE, 1)
    assert set(np.flatnonzero(apply_update(base, update) != base)) <= set(places(turn))


@every_codec
def test_no_other_byte_anywhere_gives_the_same_content(codec):
    turn = Turn(SPACE, 4, 7)
    data = make_file(SPACE, codec, random_change(turn.space), turn)
    check_no_other_byte(data, lambda file: content(file, SPACE), 1 + len(data) // 400)


@every_codec
def test_what_an_update_says_is_written_again_as_the_same_bytes(codec):
    turn = Turn(LONG, 8, 3)
    data = make_file(LONG, codec, random_change(turn.space), turn)
    update = Update.parse(data, LONG, base_digest=BASE)
    carried = [update.reading(*turn.space.segment_range(i)) for i in range(turn.space.segment_count)]
    if codec.name == "dense":
        assert make_file(LONG, codec, np.concatenate(carried), turn) == data
    segments = [update.segment(i) for i in range(turn.space.segment_count)]
    _, decoded = compress(torch.from_numpy(random_change(turn.space)), turn.space, codec)
    assert np.concatenate(carried).tobytes() == decoded.numpy().tobytes()
    assert sum(segment.size_bytes for segment in segments) < len(data)


def test_which_elements_travel_costs_nothing():
    space = ParameterSpace.of([TensorSpec("w", (2048, 4096))])
    turn = Turn(space, 8, 5)
    data = make_file(space, ONE_BIT, random_change(turn.space), turn)
    scales = 4 * turn.space.chunk_count
    assert space.size / 64 + scales <= len(data) < space.size / 64 + scales + 1000
    assert 32 * space.size / (8 * len(data)) > 250


@settings(deadline=None, max_examples=20)
@given(bits=st.sampled_from([8, 4, 2, 1]), turns=turns_of, number=st.integers(0, 99), seed=st.integers(0, 99))
def test_what_is_sent_and_what_is_left_over_are_the_change(bits, turns, number, seed):
    turn = Turn(SPACE, turns, number)
    wanted = Wanted(SPACE, BASE, CodecConfig(name="blockwise", bits=bits), turn)
    target = random_change(SPACE, seed)
    done = finish_unit(wanted, target)
    said = np.zeros_like(target)
    wanted.add_decoded(said, [done.data])
    np.testing.assert_allclose(said + done.residual_P, target, rtol=1e-6, atol=1e-9)
    waits = np.ones(SPACE.size, dtype=bool)
    waits[places(turn)] = False
    assert done.residual_P[waits].tobytes() == target[waits].tobytes()


def test_with_error_feedback_everything_has_arrived_after_a_cycle():
    target, arrived = random_change(SPACE), np.zeros(SPACE.size, dtype=np.float32)
    left = target
    for number in range(16, 24):
        wanted = Wanted(SPACE, BASE, CodecConfig(name="blockwise", bits=8), Turn(SPACE, 8, number))
        done = finish_unit(wanted, left)
        wanted.add_decoded(arrived, [done.data])
        left = done.residual_P
    assert np.linalg.norm(arrived - target) < 0.02 * np.linalg.norm(target)


# headers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "message"),
    [
        *(({"turns": turns}, "none of 2, 4, 8") for turns in ("0", "1", "3", "04", "128", "x", "", 4, ["4"])),
        *(({"turn": turn}, "number of a round") for turn in ("07", "-1", "+7", "7 ", "", str(TURN_END), "9" * 11, 7)),
        ({"turns": None}, "together and alone"),
        ({"turn": None}, "together and alone"),
        ({"tensors": "ff"}, "together and alone"),
        ({"rank": "3"}, "together and alone"),
        ({"mask": BASE}, "alone"),
    ],
)
def test_a_turn_that_is_none_or_not_alone_is_refused(said, message):
    turn = Turn(SPACE, 4, 7)
    data = make_file(SPACE, ONE_BIT, random_change(turn.space), turn)
    assert edited(data, {}) == data
    with pytest.raises(UnsupportedFormatError, match=message):
        Update.parse(edited(data, said), SPACE, base_digest=BASE)


def test_the_last_number_of_a_round_is_read():
    turn = Turn(SPACE, 2, TURN_END - 1)
    data = make_file(SPACE, ONE_BIT, random_change(turn.space), turn)
    assert Update.parse(data, SPACE, base_digest=BASE).carrier == turn


def test_another_turn_is_another_change():
    turn = Turn(LONG, 8, 8)
    data = make_file(LONG, ONE_BIT, random_change(turn.space), turn)
    other = Update.parse(edited(data, {"turn": "16"}), LONG, base_digest=BASE)
    try:
        decoded = other.decode(0)
    except UpdateError:  # an element more or less of a short block
        return
    assert decoded.tobytes() != Update.parse(data, LONG, base_digest=BASE).decode(0).tobytes()


# what a run asks for --------------------------------------------------------------------


def test_what_is_asked_for_is_the_turn_of_the_round():
    asked = UpdateConfig(codec=ONE_BIT, turns=8)
    assert asked_carrier(SPACE, asked, turn=11) == Turn(SPACE, 8, 11)
    assert asked_carrier(SPACE, UpdateConfig(), turn=11) is None
    with pytest.raises(ConfigValueError, match=r"round 2,147,483,648 has no elements in turn"):
        asked_carrier(SPACE, asked, turn=TURN_END)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"codec": CodecConfig(name="topk")}, "say again where values lie"),
        ({}, "say again where values lie"),
        ({"codec": ONE_BIT, "train": ("w",)}, "remove train, lora and mask"),
        ({"codec": ONE_BIT, "lora": LoraConfig()}, "remove train, lora and mask"),
        ({"codec": ONE_BIT, "mask": MaskConfig(file="m", digest=BASE, size_bytes=9)}, "remove train, lora and mask"),
        ({"codec": ONE_BIT, "fisher": True}, "Fisher"),
        ({"codec": ONE_BIT, "turns": 3}, "2, 4, 8"),
    ],
)
def test_turns_go_with_numbers_of_all_elements_only(said, message):
    with pytest.raises(ValidationError, match=message):
        UpdateConfig(**({"turns": 8} | said))
