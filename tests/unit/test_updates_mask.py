"""Laws of masks, of updates under them, and of what is chosen and trained."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import (
    ConfigValueError,
    NonCanonicalUpdateError,
    UnsupportedFormatError,
    WrongBaseError,
)
from barnraise.update_config import CodecConfig, LoraConfig, MaskConfig, UpdateConfig
from barnraise.updates import Mask, ParameterSpace, TensorSpec, Update, write_update
from barnraise.updates.mask import MASK_CODEC, write_mask
from contributor.unit import Wanted, finish_unit
from merge.compress import compress
from merge.compress.mask import choose_entries
from update_samples import BASE, check_change, check_no_other_byte, content, edited, make_file, random_change

CODECS = [CodecConfig(name="dense"), *(CodecConfig(name="blockwise", bits=bits) for bits in (8, 4, 2, 1))]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.name}-{codec.bits}")
DENSE = CODECS[0]
# Several segments, short chunks, an empty tensor, tensors without entries.
SPACE = ParameterSpace.of(
    [*(TensorSpec(f"t{i:03}", (1 + i % 3,)) for i in range(600)), TensorSpec("w", (70, 60)), TensorSpec("x", (0, 3))]
)
SCORES = np.abs(random_change(SPACE, 9, 1.0))


def mask_of(density: float = 0.05, space: ParameterSpace = SPACE, scores: np.ndarray | None = None) -> Mask:
    positions = choose_entries(SCORES[: space.size] if scores is None else scores, space, density)
    return Mask.parse(write_mask(space, BASE, positions), space)


MASK = mask_of()


def entries(mask: Mask) -> np.ndarray:
    starts = [mask.whole.segment_range(segment)[0] for segment in range(mask.whole.segment_count)]
    return np.concatenate([start + mask.positions(segment) for segment, start in enumerate(starts)])


def parsed(data: bytes, mask: Mask | None = MASK) -> Update:
    return Update.parse(data, SPACE, base_digest=BASE, mask=mask)


@settings(deadline=None, max_examples=15)
@given(st.sets(st.integers(0, SPACE.size - 1), min_size=1, max_size=60))
def test_a_mask_comes_back(chosen):
    space, half = SPACE, []
    for start, end in zip(space.chunk_starts[:-1].tolist(), space.chunk_starts[1:].tolist(), strict=True):
        inside = [p for p in sorted(chosen) if start <= p < end]
        half += inside[: -(-(end - start) // 2)]
    if not half:
        return
    mask = Mask.parse(write_mask(space, BASE, np.array(half)), space)
    assert entries(mask).tolist() == half
    assert sum(mask.per_tensor) == mask.firsts[-1] == len(half) == mask.space.size


def test_no_other_byte_anywhere_gives_the_same_mask():
    def said(file: bytes) -> tuple[object, ...]:
        mask = Mask.parse(file, SPACE)
        return entries(mask).tolist(), mask.update.base_digest

    data = write_mask(SPACE, BASE, entries(MASK))
    assert said(data) == (entries(MASK).tolist(), BASE)
    check_no_other_byte(data, said, 3)


def test_an_update_is_no_mask_nor_are_other_values():
    change = random_change(SPACE)
    with pytest.raises(UnsupportedFormatError, match="no mask"):
        Mask.parse(make_file(SPACE, MASK_CODEC, change), SPACE)
    segments, _ = compress(torch.from_numpy(change), SPACE, MASK_CODEC)
    with pytest.raises(NonCanonicalUpdateError, match="not 1"):
        Mask.parse(write_update(SPACE, BASE, MASK_CODEC, segments, role="mask"), SPACE)
    with pytest.raises(NonCanonicalUpdateError, match="empty"):
        Mask.parse(write_mask(SPACE, BASE, np.zeros(0, dtype=np.int64)), SPACE)
    with pytest.raises(WrongBaseError):
        Mask.parse(write_mask(SPACE, BASE, entries(MASK)), ParameterSpace.of([TensorSpec("w", (70, 60))]))


@every_codec
def test_an_update_says_values_of_entries_alone(codec):
    change = random_change(MASK.space)
    _, decoded = compress(torch.from_numpy(change), MASK.space, codec)
    whole = np.zeros(SPACE.size, dtype=np.float32)
    whole[entries(MASK)] = decoded.numpy()
    update = parsed(make_file(SPACE, codec, change, MASK))
    check_change(update, whole)
    assert update.carrier is MASK


@every_codec
def test_no_other_byte_anywhere_gives_the_same_content(codec):
    data = make_file(SPACE, codec, random_change(MASK.space), MASK)

    def said(file: bytes) -> tuple[object, ...]:
        update = parsed(file)
        parts = [update.decode(segment).tobytes() for segment in range(SPACE.segment_count)]
        return update.role, update.codec, update.scope, *parts

    check_no_other_byte(data, said, 1 + len(data) // 150)


def test_where_values_lie_costs_nothing():
    space = ParameterSpace.of([TensorSpec("w", (300, 4096))])
    mask = mask_of(0.01, space, np.abs(random_change(space)))
    data = make_file(space, CodecConfig(name="blockwise", bits=4), random_change(mask.space), mask)
    values = mask.space.size
    assert values == 12288
    assert values / 2 < len(data) < values / 2 + 900  # 4 bits each, three scales, the header
    assert len(mask.update._data) > 5 * values / 8 * 1.2  # what is said once: 8 bits an entry


def test_under_another_mask_or_without_one_an_update_is_refused():
    data = make_file(SPACE, DENSE, random_change(MASK.space), MASK)
    for other in (None, mask_of(0.04)):
        with pytest.raises(WrongBaseError, match="under mask"):
            parsed(data, other)
    plain = make_file(SPACE, DENSE, random_change(SPACE))
    assert parsed(plain).carrier is None  # whoever checks an update compares what the run asks for


def test_a_mask_beside_tensors_or_a_rank_is_refused():
    data = make_file(SPACE, DENSE, random_change(MASK.space), MASK)
    for key, value in (("rank", "3"), ("tensors", "ff" * 75 + "f8")):
        with pytest.raises(UnsupportedFormatError, match="mask alone"):
            parsed(edited(data, {key: value}))


@every_codec
def test_what_is_sent_and_what_is_left_over_are_the_change(codec):
    wanted = Wanted(SPACE, BASE, codec, MASK)
    change = wanted.cut(random_change(SPACE, 5))
    assert len(change) == MASK.space.size
    done = finish_unit(wanted, change)
    said = np.zeros_like(change)
    wanted.add_decoded(said, [done.data])
    np.testing.assert_allclose(said + done.residual_P, change, rtol=1e-6, atol=1e-9)


def test_vectors_of_two_masks_are_not_taken_for_each_other():
    """As many entries in each tensor, but other ones: a residual of one is none of the other."""
    scores = np.zeros(SPACE.size, dtype=np.float32)
    first, second = scores.copy(), scores.copy()
    first[[1300, 1302]], second[[1301, 1303]] = 1.0, 1.0
    one, other = (mask_of(2 / SPACE.size, SPACE, found) for found in (first, second))
    assert one.per_tensor == other.per_tensor
    assert one.space.digest != other.space.digest


# choosing -------------------------------------------------------------------------------


def test_the_largest_scores_are_chosen_and_at_most_half_of_a_chunk():
    space = ParameterSpace.of([TensorSpec("a", (2, 4096)), TensorSpec("b", (10,))])
    scores = np.linspace(0.1, 1.0, space.size, dtype=np.float32)
    chosen = choose_entries(scores, space, 0.1)
    assert len(chosen) == round(0.1 * space.size)
    assert (chosen[-5:] == space.size - np.arange(5, 0, -1)).all()  # half of the last chunk
    assert chosen[-6] == 8191
    most = choose_entries(scores, space, 1.0)
    assert len(most) == 2048 + 2048 + 5


def test_among_equals_the_lowest_come_first_and_what_has_no_score_never():
    space = ParameterSpace.of([TensorSpec("a", (4096,))])
    assert choose_entries(np.ones(4096, dtype=np.float32), space, 3 / 4096).tolist() == [0, 1, 2]
    scores = np.zeros(4096, dtype=np.float32)
    scores[7] = 1.0
    assert choose_entries(scores, space, 0.5).tolist() == [7]
    with pytest.raises(ConfigValueError, match="would be empty"):
        choose_entries(scores * 0, space, 0.5)


@pytest.mark.parametrize(
    "other", [{"train": ("w",)}, {"lora": LoraConfig()}, {"codec": CodecConfig(name="topk")}], ids=str
)
def test_settings_that_do_not_go_with_a_mask_are_refused(other):
    pinned = MaskConfig(file="mask.safetensors", digest=MASK.digest, size_bytes=1)
    with pytest.raises(ValueError, match="mask"):
        UpdateConfig.model_validate({"codec": DENSE, "mask": pinned} | other)


def test_content_of_an_update_under_a_mask_needs_the_mask():
    with pytest.raises(WrongBaseError):
        content(make_file(SPACE, DENSE, random_change(MASK.space), MASK), SPACE)
