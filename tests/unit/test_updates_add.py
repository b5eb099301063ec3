"""Adding packed updates: the bits of adding them decoded, on every path."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from barnraise import native
from barnraise.errors import UpdateError
from barnraise.native import codec as loops
from barnraise.update_config import CodecConfig
from barnraise.updates import (
    ParameterSpace,
    TensorSpec,
    Update,
    add_all_scaled,
    add_decoded,
    add_scaled,
    add_segments,
    decode_whole,
    support,
)
from barnraise.updates.draw_tables import compiled_tables
from laws import examples
from sanitized import fuzz
from update_samples import BASE, CODECS, SHORT_CHUNKS, SMALL, codec_id, make_file, random_change

LARGE = ParameterSpace.of([TensorSpec("w", (700, 3100)), TensorSpec("b", (77,))])  # several segments
TOPK = CodecConfig(name="topk", k=64)
PATHS = {"compiled": contextlib.nullcontext, "plain": native.disabled}

every_codec = pytest.mark.parametrize("codec", CODECS, ids=codec_id)
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())


def updates_of(space: ParameterSpace, codec, count: int) -> list[Update]:
    files = [make_file(space, codec, random_change(space, seed)) for seed in range(count)]
    return [Update.parse(file, space, base_digest=BASE) for file in files]


def decoded(update: Update) -> np.ndarray:
    return np.concatenate([update.decode(index) for index in range(update.space.segment_count)])


@every_path
@every_codec
@pytest.mark.parametrize("space", [SMALL, SHORT_CHUNKS], ids=["small", "short-chunks"])
def test_it_gives_the_bits_of_adding_decoded_changes(space, codec, path):
    updates, factors = updates_of(space, codec, 3), [0.3, -1.7, 1e-30]
    expected = np.zeros(space.size, dtype=np.float32)
    for update, factor in zip(updates, factors, strict=True):
        expected += np.float32(factor) * decoded(update)
    found = np.zeros(space.size, dtype=np.float32)
    with path():
        add_all_scaled(updates, factors, found)
    assert found.tobytes() == expected.tobytes()


def test_several_segments_on_several_threads_are_the_same(monkeypatch):
    updates, found = updates_of(LARGE, TOPK, 2), []
    for threads in ("1", "8"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(np.zeros(LARGE.size, dtype=np.float32))
        add_all_scaled(updates, [0.5, 0.25], found[-1])
    expected = np.float32(0.5) * decoded(updates[0]) + np.float32(0.25) * decoded(updates[1])
    assert found[0].tobytes() == found[1].tobytes() == expected.tobytes()


@every_codec
@pytest.mark.parametrize("room", [1, 1 << 18])
def test_however_many_are_decoded_at_once(codec, room, monkeypatch):
    monkeypatch.setattr("barnraise.native.codec._ROOM", room)
    updates, found = updates_of(SHORT_CHUNKS, codec, 3) * 6, []
    factors = [0.1 * number - 0.5 for number in range(len(updates))]
    for path in PATHS.values():
        found.append(np.zeros(SHORT_CHUNKS.size, dtype=np.float32))
        with path():
            add_all_scaled(updates, factors, found[-1])
    assert found[0].tobytes() == found[1].tobytes()


@every_path
def test_one_segment_is_added_where_it_belongs(path):
    update = updates_of(LARGE, TOPK, 1)[0]
    for segment in range(LARGE.segment_count):
        start, end = LARGE.segment_range(segment)
        found = np.full(end - start, 0.5, dtype=np.float32)
        with path():
            add_scaled(update, segment, 2.0, found)
        assert found.tobytes() == (np.float32(0.5) + np.float32(2) * update.decode(segment)).tobytes()


@every_path
@every_codec
def test_it_says_whether_all_is_finite(codec, path):
    change = np.full(SMALL.size, 3e38, dtype=np.float32)
    update = Update.parse(make_file(SMALL, codec, change), SMALL, base_digest=BASE)
    sums = np.zeros(SMALL.size, dtype=np.float32)
    with path():
        assert add_segments([update], [1.0], range(1), sums)
        assert not add_segments([update], [1.0], range(1), sums)


def one_wrong_segment() -> tuple[Update, Update, type[UpdateError]]:
    """An update, the same with a segment that is damaged, and how that is refused by itself."""
    file = bytearray(make_file(LARGE, TOPK, random_change(LARGE)))
    good = Update.parse(bytes(file), LARGE, base_digest=BASE)
    part = good.segment(1).support
    at = bytes(file).rindex(part)
    file[at : at + len(part)] = b"\xff" * len(part)
    wrong = Update.parse(bytes(file), LARGE, base_digest=BASE)
    with pytest.raises(UpdateError) as expected:
        wrong.sparse(1)
    return good, wrong, type(expected.value)


@every_path
def test_a_wrong_segment_is_named_by_its_own_error(path):
    good, wrong, error = one_wrong_segment()
    with path(), pytest.raises(error):
        add_all_scaled([good, wrong], [1.0, 1.0], np.zeros(LARGE.size, dtype=np.float32))


@every_path
def test_a_wrong_segment_of_a_whole_update_is_named_by_its_own_error(path):
    _, wrong, error = one_wrong_segment()
    with path(), pytest.raises(error):
        decode_whole(wrong)


@pytest.mark.parametrize("space", [SMALL, SHORT_CHUNKS, LARGE], ids=["small", "short-chunks", "large"])
def test_whole_updates_are_decoded_alike(space):
    for zeros in (0.0, 0.9, 1.0):
        change = random_change(space)
        change[np.random.default_rng(1).random(space.size) < zeros] = 0
        update = Update.parse(make_file(space, TOPK, change), space, base_digest=BASE)
        compiled = decode_whole(update)
        with native.disabled():
            plain = decode_whole(update)
        for name in ("places_N", "values_N", "firsts_C"):
            mine, theirs = getattr(compiled, name), getattr(plain, name)
            assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes()), name


@every_path
@pytest.mark.parametrize("space", [SMALL, SHORT_CHUNKS, LARGE], ids=["small", "short-chunks", "large"])
def test_decoded_updates_add_as_packed_ones_do(space, path):
    updates, factors = updates_of(space, TOPK, 2), [0.3, -1.7]
    packed, unpacked = np.zeros((2, space.size), dtype=np.float32)
    add_all_scaled(updates, factors, packed)
    with path():
        add_decoded(space, [decode_whole(update) for update in updates], factors, unpacked)
    assert packed.tobytes() == unpacked.tobytes()


def test_nothing_to_add_is_fine():
    sums = np.ones(3, dtype=np.float32)
    add_all_scaled([], [], sums)
    assert sums.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("count", "k"), [(2, 41), (3, 300), (4, 256), (5, 1)])
def test_updates_that_differ_are_decoded_in_step(count, k):
    space = ParameterSpace.of([TensorSpec("w", (350, 3100)), TensorSpec("b", (77,))])
    codec, updates = CodecConfig(name="topk", k=k), []
    for number in range(count):
        change = random_change(space, number)
        change[: 4096 * number] = 0
        change.reshape(-1, 7)[number % 2 :: 3] = 0  # some lie nearer to each other than others
        change[:500_000] *= np.repeat(2.0 ** np.random.default_rng(number).integers(-3, 3, 2000), 250)
        updates.append(Update.parse(make_file(space, codec, change), space, base_digest=BASE))
    expected, found = np.zeros((2, space.size), dtype=np.float32)
    for update in updates:
        expected += np.float32(0.5) * decoded(update)
    add_all_scaled(updates, [0.5] * count, found)
    assert found.tobytes() == expected.tobytes()


def refusal_of(update: Update, beside: list[Update]) -> type[UpdateError] | None:
    """Why an update is refused that is added after others."""
    try:
        add_all_scaled([*beside, update], [1.0] * (len(beside) + 1), np.zeros(update.space.size, dtype=np.float32))
    except UpdateError as refusal:
        return type(refusal)
    return None


@pytest.mark.parametrize("count", [1, 3])
def test_a_turned_bit_is_refused_beside_others_as_it_is_alone(count):
    space = ParameterSpace.of([TensorSpec("w", (20, 3100))])
    beside, whole = updates_of(space, TOPK, count), make_file(space, TOPK, random_change(space, 99))
    part = Update.parse(whole, space, base_digest=BASE).segment(0).support
    at, refusals = whole.rindex(part), set()
    for bit in range(0, 8 * len(part), 257):
        file = bytearray(whole)
        file[at + bit // 8] ^= 1 << bit % 8
        wrong = Update.parse(bytes(file), space, base_digest=BASE)
        with native.disabled():
            expected = refusal_of(wrong, [])
        assert refusal_of(wrong, beside) == expected
        refusals.add(expected)
    assert len(refusals - {None}) > 1


# -- decoding in step ----------------------------------------------------------------------

WHOLE = ParameterSpace.of([TensorSpec("w", (300, 4096))])


def of_levels(levels: list[int], k: int = 41) -> list[Update]:
    """An update for each number of levels; chunks have entries here and there or close together."""
    updates = []
    for seed, count in enumerate(levels):
        draws = np.random.default_rng(seed)
        change = np.zeros(WHOLE.size, dtype=np.float32).reshape(-1, 4096)
        for row in change:
            places = draws.choice(4096 >> draws.integers(0, 6), size=draws.integers(0, k + 1) % 128, replace=False)
            row[places] = draws.choice([-1, 1], len(places)) * np.exp2(draws.integers(-3, 3)) * 1e-3
            row[places[: len(places) // 4]] *= 4 if count == 2 else 1
        codec = CodecConfig(name="topk", k=k)
        updates.append(Update.parse(make_file(WHOLE, codec, change.reshape(-1)), WHOLE, base_digest=BASE))
        assert {updates[-1].segment(number).scales[2] > 0 for number in range(2)} == {count == 2}
    return updates


def has_vectors() -> bool:
    """Whether this machine has what decoding in step needs; asked of the system, not of the code."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    return "avx2" in flags and "fma" in flags


@pytest.mark.parametrize(
    "levels", [[1], [1, 1], [1] * 5, [1] * 16, [1] * 18, [1] * 7 + [2], [2, 2, 2, 1, 1, 1]], ids=str
)
def test_updates_are_decoded_in_step_where_the_processor_can(levels, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # several threads have less each to be decoded together
    updates = of_levels(levels)
    expected, found = np.zeros((2, WHOLE.size), dtype=np.float32)
    for update in updates:
        expected += np.float32(0.3) * decoded(update)
    packed = [(update.packed(), 0.3) for update in updates]
    added = loops.add_packed(compiled_tables(), WHOLE.chunk_starts, range(WHOLE.segment_count), packed, found)
    assert found.tobytes() == expected.tobytes()
    segments = WHOLE.segment_count * len(levels) if has_vectors() else 0
    assert added == loops.Added(wrong=None, finite=True, in_step=segments)


@pytest.mark.parametrize("which", [0, 2, 5])
def test_a_turned_bit_is_refused_where_updates_are_decoded_in_step(which):
    updates, refusals = of_levels([1] * 6), set()
    whole = make_file(WHOLE, CodecConfig(name="topk", k=41), decoded(updates[which]))
    part = updates[which].segment(0).support
    at = whole.rindex(part)
    for bit in (*range(5, 8 * len(part), 8 * len(part) // 12), 8 * len(part) - 32):  # what is left over, as well
        file = bytearray(whole)
        file[at + bit // 8] ^= 1 << bit % 8
        wrong = Update.parse(bytes(file), WHOLE, base_digest=BASE)
        with native.disabled():
            expected = refusal_of(wrong, [])
        order = [*updates[:which], wrong, *updates[which + 1 :]]
        assert added_to_zeros(order).wrong == ((0, which) if expected else None)
        refusals.add(expected)
    assert len(refusals - {None}) > 1


def added_to_zeros(updates: list[Update]) -> loops.Added:
    packed, sums = [(update.packed(), 1.0) for update in updates], np.zeros(WHOLE.size, dtype=np.float32)
    return loops.add_packed(compiled_tables(), WHOLE.chunk_starts, range(WHOLE.segment_count), packed, sums)


def test_a_chunk_may_have_as_many_entries_as_there_are_steps(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    change = np.zeros(WHOLE.size, dtype=np.float32)
    change[5 * 4096 : 5 * 4096 + 128 * 31 : 31] = 1e-3
    change[6 * 4096 - 128 : 6 * 4096] = 1e-3
    file = make_file(WHOLE, CodecConfig(name="topk", k=256), change)
    updates = [Update.parse(file, WHOLE, base_digest=BASE)] * 4
    assert added_to_zeros(updates).in_step == (4 if has_vectors() else 0)  # the other segment has nothing


def test_chunks_that_are_cut_in_another_way_are_refused_where_updates_are_decoded_in_step(monkeypatch):
    updates = of_levels([1] * 5)
    change = decoded(updates[3])
    with monkeypatch.context() as patch, native.disabled():
        patch.setattr(support, "_choices", lambda said, starts_C: np.zeros(len(starts_C) - 1, dtype=np.int64))
        file = make_file(WHOLE, CodecConfig(name="topk", k=41), change)
    updates[3] = Update.parse(file, WHOLE, base_digest=BASE)
    assert added_to_zeros(updates).wrong == (0, 3)


def test_a_sum_beyond_float32_is_said_where_updates_are_decoded_in_step():
    packed = [(update.packed(), 3e38) for update in of_levels([1] * 4)]
    for before, finite in ((0, True), (3.4e38, False)):
        sums = np.full(WHOLE.size, before, dtype=np.float32)
        added = loops.add_packed(compiled_tables(), WHOLE.chunk_starts, range(WHOLE.segment_count), packed, sums)
        assert added.finite == finite == np.isfinite(sums).all()


def test_the_loops_under_sanitizers_survive_damage(tmp_path: Path) -> None:
    """Whatever bytes and offsets an update may have, beside others, in buffers that are exactly long enough."""
    fuzz("packed", ["entropy*", "scatter"], examples(170, 1000), tmp_path, compiled_tables().tobytes())
