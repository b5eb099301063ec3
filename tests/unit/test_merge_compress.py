"""Compressing: what is chosen, how well it is kept, and that decoding gives the very same bits."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.errors import NonFiniteUpdateError
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, TensorSpec, Update, decode_segment, write_update
from barnraise.updates.codec import kept_per_chunk
from merge.compress import compress, compress_in_place, compress_segment, topk
from update_samples import BASE, CODECS, SMALL, SPACES, changes, codec_id, make_file, random_change

MILLION = ParameterSpace.of([TensorSpec("w", (1024, 1024))])
CHUNK = np.array([0, 4096], dtype=np.int64)
TOPK = CodecConfig(name="topk", k=64)

every_codec = pytest.mark.parametrize("codec", CODECS, ids=codec_id)


def both_ways(change: np.ndarray, space: ParameterSpace, codec: CodecConfig) -> tuple[np.ndarray, np.ndarray]:
    """What compressing says the change decodes to, and what it decodes to."""
    segments, decoded = compress(torch.from_numpy(change), space, codec)
    data = write_update(space, BASE, codec, segments, role="update")
    update = Update.parse(data, space, base_digest=BASE)
    return decoded.numpy(), np.concatenate([update.decode(index) for index in range(space.segment_count)])


@every_codec
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_decoding_gives_the_bits_that_compressing_announced(codec, data):
    space = data.draw(st.sampled_from(SPACES))
    announced, decoded = both_ways(data.draw(changes(space)), space, codec)
    assert announced.tobytes() == decoded.tobytes()
    assert np.isfinite(decoded).all()


@every_codec
@pytest.mark.parametrize("compiled", [True, False])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_in_place_the_same_is_said_and_the_same_is_left(compiled, codec, data):
    space = data.draw(st.sampled_from(SPACES))
    change = data.draw(changes(space))
    with nullcontext() if compiled else native.disabled():
        segments, decoded = compress(torch.from_numpy(change), space, codec)
        left = change.copy()
        assert compress_in_place(left, space, codec) == segments
    assert left.tobytes() == (change - decoded.numpy()).tobytes()


@every_codec
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_compiled_and_plain_say_the_same_and_read_the_same(codec, data):
    space = data.draw(st.sampled_from(SPACES))
    change = data.draw(st.one_of(changes(space), st.integers(0, 99).map(lambda seed: random_change(space, seed))))
    segments, decoded = compress(torch.from_numpy(change), space, codec)
    with native.disabled():
        plain_segments, plain_decoded = compress(torch.from_numpy(change), space, codec)
        read = np.concatenate(
            [decode_segment(found, space.segment_chunk_starts(i), codec) for i, found in enumerate(segments)]
        )
    assert segments == plain_segments
    assert decoded.numpy().tobytes() == plain_decoded.numpy().tobytes() == read.tobytes()


@every_codec
@pytest.mark.parametrize("scale", [0.0, 1e-44, 1e-40, 1e-38, 1e-36, 1e-3, 1e30, 1e37])
def test_every_size_of_change_works(codec, scale):
    with np.errstate(over="ignore"):
        change = np.clip(random_change(SMALL, scale=1.0) * scale, -3.4e38, 3.4e38).astype(np.float32)
    announced, decoded = both_ways(change, SMALL, codec)
    assert announced.tobytes() == decoded.tobytes()
    residual = change - decoded
    assert np.isfinite(residual).all()
    assert np.square(residual, dtype=np.float64).sum() <= np.square(change, dtype=np.float64).sum()


@every_codec
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(codec, bad):
    change = random_change(SMALL)
    change[17] = bad
    with pytest.raises(NonFiniteUpdateError, match=r"1 of \d+ elements"):
        compress(torch.from_numpy(change), SMALL, codec)


@every_codec
def test_the_target_is_left_alone_and_the_result_does_not_share_it(codec):
    target = torch.from_numpy(random_change(SMALL)).requires_grad_()
    before = target.detach().clone()
    _, decoded = compress(target, SMALL, codec)
    decoded.add_(1.0)
    assert torch.equal(target, before)
    assert not decoded.requires_grad


@every_codec
def test_the_number_of_threads_does_not_matter(codec):
    space = ParameterSpace.of([TensorSpec("w", (256, 512)), TensorSpec("b", (300,))])
    change, before, files = random_change(space), torch.get_num_threads(), set()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            files.add(make_file(space, codec, change))
    finally:
        torch.set_num_threads(before)
    assert len(files) == 1


def test_dense_is_exact():
    change = random_change(SMALL)
    change[3] = -0.0
    _, decoded = both_ways(change, SMALL, CODECS[0])
    assert decoded.tobytes() == change.tobytes()


@pytest.mark.parametrize(("bits", "error"), [(8, 0.0003), (4, 0.03), (2, 0.21), (1, 0.502)])
def test_blockwise_error_is_near_that_of_the_best_uniform_quantiser(bits, error):
    change = np.random.default_rng(0).laplace(size=MILLION.size).astype(np.float32)
    _, decoded = both_ways(change, MILLION, CodecConfig(name="blockwise", bits=bits))
    assert np.square(change - decoded).sum() < error * np.square(change).sum()


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_blockwise_writes_a_constant_chunk_as_scale_and_ones(bits):
    segment, decoded = compress_segment(torch.full((4096,), -0.5), CHUNK, CodecConfig(name="blockwise", bits=bits))
    assert len(set(segment.levels)) == 1
    assert torch.allclose(decoded, torch.tensor(-0.5), rtol=0.02)


def test_one_bit_says_signs_and_the_mean_magnitude():
    target = torch.tensor([0.0, -0.0, 3.0, -1.0, 0.0, 4.0, -1e-45, 0.0])
    for allowed in (True, False):
        with nullcontext() if allowed else native.disabled():
            segment, decoded = compress_segment(target, np.array([0, 8]), CodecConfig(name="blockwise", bits=1))
        assert segment.levels == bytes([0b10110111])
        assert decoded.tolist() == [1, 1, 1, -1, 1, 1, -1, 1]


@settings(deadline=None, max_examples=30)
@given(change=changes(SMALL), k=st.sampled_from([1, 16, 64, 1024]))
def test_topk_keeps_the_largest_of_every_chunk(change, k):
    _, decoded = both_ways(change, SMALL, CodecConfig(name="topk", k=k))
    starts = SMALL.segment_chunk_starts(0)
    for start, end, kept in zip(starts[:-1], starts[1:], kept_per_chunk(starts, k), strict=True):
        sizes, sent = np.abs(change[start:end]), decoded[start:end] != 0
        order = np.argsort(-sizes, kind="stable")[:kept]
        expected = order[sizes[order] >= np.finfo(np.float32).tiny]
        assert not sent.any() or sorted(expected) == np.flatnonzero(sent).tolist()
        assert (np.signbit(change[start:end]) == np.signbit(decoded[start:end]))[sent].all()


def test_topk_takes_the_lowest_positions_among_equals():
    _, decoded = compress_segment(torch.ones(4096), CHUNK, TOPK)
    assert torch.nonzero(decoded).view(-1).tolist() == list(range(64))
    assert torch.equal(decoded[:64], torch.ones(64))


def test_topk_keeps_a_chunk_that_is_much_weaker_than_its_segment():
    starts = np.array([0, 4096, 8192, 12288], dtype=np.int64)
    target = torch.cat([torch.full((4096,), size) for size in (1.0, 2.0**-120, 2.0**120)])
    _, decoded = compress_segment(target, starts, TOPK)
    assert torch.equal(decoded[decoded != 0], target[decoded != 0])
    assert int((decoded != 0).sum()) == 3 * 64


def test_topk_finds_two_levels_where_there_are_two():
    target = torch.zeros(4096)
    target[:10], target[10:50] = 4.0, -1.0
    _, decoded = compress_segment(target, CHUNK, TOPK)
    assert torch.allclose(decoded, target, rtol=0.05)


@pytest.mark.parametrize(("draw", "error"), [("normal", 0.015), ("laplace", 0.035)])
def test_topk_keeps_most_of_the_energy_that_it_sends(draw, error):
    change = getattr(np.random.default_rng(0), draw)(size=MILLION.size).astype(np.float32)
    _, decoded = both_ways(change, MILLION, TOPK)
    sent = decoded != 0
    assert int(sent.sum()) == 64 * 256
    assert np.square(change - decoded)[sent].sum() < error * np.square(change)[sent].sum()


def test_topk_weighs_a_second_level_against_its_bits():
    rng = np.random.default_rng(0)
    flat, tailed = np.zeros(MILLION.size, dtype=np.float32), np.zeros(MILLION.size, dtype=np.float32)
    flat[::64] = rng.uniform(0.9, 1.1, MILLION.size // 64)
    tailed[::64] = np.where(rng.random(MILLION.size // 64) < 0.2, 8.0, 1.0)
    for change, levels in ((flat, 1), (tailed, 2)):
        segment, _ = compress_segment(torch.from_numpy(change), MILLION.segment_chunk_starts(0), TOPK)
        assert (segment.scales[2] != 0) == (levels == 2)


def test_topk_costs_at_most_three_percent_more_than_the_entropy():
    """Entropy of 64 of 4,096 positions and their signs: 0.131 bits a parameter. The header is paid once a file."""
    change = np.random.default_rng(1).normal(size=MILLION.size).astype(np.float32)
    segment, _ = compress_segment(torch.from_numpy(change), MILLION.segment_chunk_starts(0), TOPK)
    assert 8 * segment.size_bytes / MILLION.size < 1.03 * 0.1307


def test_with_error_feedback_everything_arrives_in_the_end():
    target = torch.from_numpy(random_change(SMALL))
    residual, arrived = torch.zeros_like(target), torch.zeros_like(target)
    for _ in range(120):
        wanted = residual + (target if not arrived.any() else 0.0)
        _, decoded = compress(wanted, SMALL, TOPK)
        residual, arrived = wanted - decoded, arrived + decoded
    assert float((arrived - target).norm()) < 0.05 * float(target.norm())


# -- levels, compiled and plain ------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=9),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 1e-38, 1e30]),
    st.floats(0, 3),
)
def test_the_sums_behind_the_levels_have_the_same_bits_compiled_and_plain(
    counts: list[int], seed: int, scale: float, border: float
) -> None:
    draws = np.random.default_rng(seed)
    values_N = (draws.standard_normal(sum(counts)) * scale).astype(np.float32)
    values_N[np.abs(values_N) < 2.0**-126] = 2.0**-126
    chosen = topk.Chosen(np.array(counts, dtype=np.uint32), np.zeros(len(values_N), dtype=np.uint32), values_N)

    def found() -> list[object]:
        means_C, relative_N = topk._relative(chosen)
        sums: list[object] = [means_C.tolist(), relative_N.tolist(), topk._parted(relative_N, border)]
        if len(relative_N):
            sums.append(topk._left_out(relative_N, border, 0.8, 1.7))
        return sums

    here = found()
    with native.disabled():
        assert found() == here
