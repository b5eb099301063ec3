"""Laws of updates that keep to some tensors of the base."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.errors import (
    ConfigValueError,
    NonCanonicalUpdateError,
    UnsupportedFormatError,
    UpdateError,
    WrongBaseError,
)
from barnraise.merge_config import MergeConfig
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, Part, TensorSpec, Update, write_update
from barnraise.updates.scope import EVERYWHERE
from coordinator.conductor.merging import Bench, MergeJob, plan_inputs
from coordinator.conductor.pool import InlinePool
from coordinator.conductor.steps import merge_now
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
from yard import Yard

every_codec = pytest.mark.parametrize("codec", CODECS, ids=codec_id)
# More than one segment, one of which has nothing that is chosen; full, short and no chunks.
SPACE = ParameterSpace.of(
    [*(TensorSpec(f"t{i:03}", (1 + i % 3,)) for i in range(600)), TensorSpec("w", (70, 60)), TensorSpec("x", (0, 3))]
)
CHOSEN = Part.of(SPACE, ["t00*", "t59[0-8]", "w"])
assert CHOSEN is not None


def of_the_whole(change_Q: np.ndarray) -> np.ndarray:
    """A change of the chosen tensors as one of the whole model."""
    flat = np.zeros(SPACE.size, dtype=np.float32)
    named = SPACE.unflatten(flat)
    for name, values in CHOSEN.space.unflatten(change_Q).items():
        named[name][...] = values
    return flat


@settings(deadline=None, max_examples=15)
@given(st.lists(st.booleans(), min_size=len(SPACE.tensors), max_size=len(SPACE.tensors)).filter(any))
def test_segments_of_a_part_hold_what_those_of_the_whole_hold_of_it(chosen):
    part, flat = Part(SPACE, tuple(chosen)), np.arange(SPACE.size, dtype=np.float32)
    own = part.cut(flat)
    assert part.space.segment_count == SPACE.segment_count
    for segment in range(SPACE.segment_count):
        start, end = SPACE.segment_range(segment)
        first, last = part.space.segment_range(segment)
        assert part.take(segment, flat[start:end]).tolist() == own[first:last].tolist()
        assert (flat[start:end][part.positions(segment)] == own[first:last]).all()


@every_codec
@pytest.mark.parametrize("compiled", [True, False])
def test_an_update_of_a_part_says_what_one_of_the_whole_would(codec, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(native, "available", lambda: False)
    change_Q = random_change(CHOSEN.space)
    _, decoded_Q = compress(torch.from_numpy(change_Q), CHOSEN.space, codec)
    update = Update.parse(make_file(SPACE, codec, change_Q, CHOSEN), SPACE, base_digest=BASE)
    check_change(update, of_the_whole(decoded_Q.numpy()))
    assert update.carrier == CHOSEN


@every_codec
def test_no_other_byte_anywhere_gives_the_same_content(codec):
    data = make_file(SPACE, codec, random_change(CHOSEN.space), CHOSEN)
    check_no_other_byte(data, lambda file: content(file, SPACE), 1 + len(data) // 500)


@every_codec
def test_a_tensor_that_is_left_out_costs_no_byte(codec):
    large = ParameterSpace.of([TensorSpec("trains", (5000,)), TensorSpec("rests", (300, 4096))])
    part = Part.of(large, ["trains"])
    alone = ParameterSpace.of([TensorSpec("trains", (5000,))])
    change = random_change(alone)
    more = len(make_file(large, codec, change, part)) - len(make_file(alone, codec, change))
    assert 0 < more < 100  # its bits, and offsets of one more segment


def test_all_tensors_are_no_part():
    assert Part.of(SPACE, []) is None
    assert Part.of(SPACE, ["t*", "w", "x"]) is None


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_names():
    with pytest.raises(ConfigValueError, match=r"no tensor is called 'ww'; the nearest are w"):
        Part.of(SPACE, ["t*", "ww"])


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ("ff" * 75 + "fc", NonCanonicalUpdateError, "all"),
        ("00" * 76, NonCanonicalUpdateError, "name"),
        ("00" * 75 + "03", NonCanonicalUpdateError, "too many"),
        ("ff", WrongBaseError, "8 bits of tensors, the base has 602"),
        ("", UnsupportedFormatError, "hexadecimal"),
        ("f", UnsupportedFormatError, "hexadecimal"),
        ("FF" * 76, UnsupportedFormatError, "hexadecimal"),
        (7, UnsupportedFormatError, "hexadecimal"),
    ],
)
def test_bits_that_name_no_part_are_refused(tensors, error, message):
    data = make_file(SPACE, CodecConfig(name="dense"), random_change(CHOSEN.space), CHOSEN)
    with pytest.raises(error, match=message):
        Update.parse(edited(data, {"tensors": tensors}), SPACE, base_digest=BASE)


def test_other_tensors_of_the_same_sizes_are_another_update_but_never_a_longer_one():
    """What travels says which tensors it is for: more of them would need more bytes than there are."""
    data = make_file(SPACE, CodecConfig(name="dense"), random_change(CHOSEN.space), CHOSEN)
    more = Part.of(SPACE, ["t00*", "t59[0-8]", "t300", "w"])
    with pytest.raises(UpdateError):
        Update.parse(edited(data, {"tensors": more.scope.tensors}), SPACE, base_digest=BASE).validate()


def rounds_of(bench: Bench, base: str, updates: list[str], seed: int, tasks: int = 1):
    random.Random(seed).shuffle(updates)
    merge = MergeConfig(strategy="krum", segments_per_task=tasks)
    inputs = plan_inputs(merge, [(digest, 1) for digest in updates])
    job = MergeJob(base, inputs, None, merge, CodecConfig(name="dense"), EVERYWHERE)
    return merge_now(bench, job, InlinePool(), 60.0)


def test_a_round_of_a_part_moves_that_part_alone_whatever_the_order(tmp_path):
    yard = Yard.at(tmp_path, MergeConfig())
    bench, space = yard.bench, yard.bench.space
    part = Part.of(space, ["a.1", "c.*", "d"])
    codec = CodecConfig(name="blockwise", bits=4)
    updates = [
        bench.blobs.put(
            write_update(
                space,
                yard.base_digest,
                codec,
                compress(torch.from_numpy(random_change(part.space, seed)), part.space, codec)[0],
                role="update",
                carrier=part,
            )
        )
        for seed in range(5)
    ]
    merged = [rounds_of(bench, yard.base_digest, updates, seed, 1 + seed) for seed in range(2)]
    assert merged[0].candidate == merged[1].candidate
    before, after = (space.unflatten(bench.models.get(d)) for d in (yard.base_digest, merged[0].candidate.model_digest))
    moved = {name for name in before if not (before[name] == after[name]).all()}
    assert moved == {spec.name for spec in part.space.tensors}
    patch = Update.parse(bench.blobs.read(merged[0].candidate.patch_digest), space, base_digest=yard.base_digest)
    assert patch.carrier == part
    assert patch.size_bytes < 4 * part.space.size + 2000  # dense, and nothing for the largest tensor


@pytest.mark.parametrize("what", ["support", "levels", "scales"])
def test_bytes_where_nothing_is_addressed_are_refused(what):
    codec = CodecConfig(name="dense")
    segments, _ = compress(torch.from_numpy(random_change(CHOSEN.space)), CHOSEN.space, codec)
    assert CHOSEN.space.cuts[1] == CHOSEN.space.cuts[2]
    segments[1] = replace(segments[1], **{what: b"more"})
    data = write_update(SPACE, BASE, codec, segments, role="update", carrier=CHOSEN)
    with pytest.raises(NonCanonicalUpdateError, match="nothing is addressed"):
        Update.parse(data, SPACE, base_digest=BASE)
