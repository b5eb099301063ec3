"""Laws of updates that travel as low-rank factors, and of finding the factors."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import ConfigValueError, NonFiniteUpdateError, UnsupportedFormatError, UpdateError, WrongBaseError
from barnraise.merge_config import MergeConfig
from barnraise.releases.store import BlobStore
from barnraise.update_config import CodecConfig, LoraConfig, UpdateConfig
from barnraise.updates import ParameterSpace, Part, TensorSpec, Update, asked_carrier
from barnraise.updates.factors import Factors, product_of
from barnraise.updates.scope import EVERYWHERE
from contributor.unit import Wanted, finish_unit
from coordinator.conductor.merging import Bench, MergeJob, plan_inputs
from coordinator.conductor.pool import InlinePool
from coordinator.conductor.steps import merge_now
from coordinator.models import ModelCache
from merge.compress.factors import factorise
from update_samples import BASE, check_change, check_no_other_byte, content, edited, make_file, random_change

CODECS = [CodecConfig(name="dense"), *(CodecConfig(name="blockwise", bits=bits) for bits in (8, 4, 2, 1))]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.name}-{codec.bits}")
DENSE = CODECS[0]
# A matrix that reaches over the end of a segment in the middle of a row, one with a side below the rank, and a gain.
REST = [TensorSpec("gain", (7,)), TensorSpec("thin", (2, 90)), TensorSpec("w", (30, 20))]
SPACE = ParameterSpace.of([*REST, TensorSpec("large", (1003, 1100))])
RANK = 3
FACTORS = Factors(Part.of(SPACE, ["large", "thin", "w"]), RANK)
FEW = Factors(Part.of(ParameterSpace.of(REST), ["thin", "w"]), RANK)


def factors_of(seed: int, carrier: Factors = FACTORS) -> np.ndarray:
    return random_change(carrier.space, seed, 0.05)


def change_of(carried: np.ndarray, carrier: Factors = FACTORS) -> np.ndarray:
    """What factors stand for, as one flat vector of the base: the definition, in float32 and in one order."""
    flat = np.zeros(carrier.part.whole.size, dtype=np.float32)
    tensors, named = carrier.space.unflatten(carried), carrier.part.whole.unflatten(flat)
    for name in (spec.name for spec in carrier.target.tensors):
        a, b = tensors[f"{name}/a"], tensors[f"{name}/b"]
        out = b[:, :1] * a[:1]
        for k in range(1, len(a)):
            out = out + b[:, k : k + 1] * a[k : k + 1]
        named[name][...] = out
    return flat


def parsed(codec: CodecConfig, carried: np.ndarray, carrier: Factors = FACTORS) -> Update:
    return Update.parse(make_file(carrier.part.whole, codec, carried, carrier), carrier.part.whole, base_digest=BASE)


def carried_by(update: Update) -> np.ndarray:
    return update.reading(0, update.carried.size)


@every_codec
def test_any_segment_alone_is_its_part_of_the_product(codec):
    update = parsed(codec, factors_of(0))
    check_change(update, change_of(carried_by(update)))


def test_float32_factors_travel_bit_for_bit():
    assert carried_by(parsed(DENSE, factors_of(1))).tobytes() == factors_of(1).tobytes()


def test_they_cost_what_factors_cost():
    data = make_file(SPACE, CodecConfig(name="blockwise", bits=8), factors_of(0), FACTORS)
    carried = sum(min(RANK, r, c) * (r + c) for r, c in [(1003, 1100), (2, 90), (30, 20)])
    assert FACTORS.space.size == carried
    assert carried < len(data) < carried + 1200  # a scale a chunk, offsets, the header


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_a_product_is_added_up_component_by_component(rank, rows, columns, seed):
    draws = np.random.default_rng(seed)
    b, a = (draws.standard_normal(shape).astype(np.float32) for shape in [(rows, rank), (rank, columns)])
    wanted = np.zeros((rows, columns), dtype=np.float32)
    for i in range(rows):
        for j in range(columns):
            total = b[i, 0] * a[0, j]
            for k in range(1, rank):
                total = np.float32(total + np.float32(b[i, k] * a[k, j]))
            wanted[i, j] = total
    assert product_of(b, a).tobytes() == wanted.tobytes()


@every_codec
def test_no_other_byte_anywhere_gives_the_same_factors(codec):
    small = ParameterSpace.of([TensorSpec("gain", (7,)), TensorSpec("w", (30, 20))])
    carrier = Factors(Part.of(small, ["w"]), RANK)
    data = make_file(small, codec, factors_of(0, carrier), carrier)

    def said(file: bytes) -> tuple[object, ...]:
        update = Update.parse(file, small, base_digest=None)
        return *content(file, small)[:-1], carried_by(update).tobytes()

    check_no_other_byte(data, said, 1)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"rank": "257"}, UnsupportedFormatError, "rank 257, at most 256"),
        ({"rank": "9999"}, UnsupportedFormatError, "rank 9999"),
        ({"rank": "0"}, UnsupportedFormatError, "no number|not a number"),
        ({"rank": "03"}, UnsupportedFormatError, "not a number"),
        ({"rank": 3}, UnsupportedFormatError, "not a number"),
        ({"tensors": "f0"}, UpdateError, "."),
        ({"tensors": "80"}, WrongBaseError, "no matrices"),
    ],
)
def test_factors_of_something_else_are_refused(values, error, message):
    data = make_file(SPACE, DENSE, factors_of(0), FACTORS)
    with pytest.raises(error, match=message):
        Update.parse(edited(data, values), SPACE, base_digest=BASE)


def test_another_rank_than_was_encoded_is_refused():
    small = ParameterSpace.of([TensorSpec("w", (30, 20))])
    data = make_file(small, DENSE, factors_of(0, Factors(Part(small, (True,)), 3)), Factors(Part(small, (True,)), 3))
    with pytest.raises(UpdateError):
        Update.parse(edited(data, {"rank": "4"}), small, base_digest=BASE).validate()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_factors_that_are_not_finite_or_whose_product_is_not_are_refused(value):
    carried = np.full(FACTORS.space.size, 2.0, dtype=np.float32)
    data = bytearray(make_file(SPACE, DENSE, carried, FACTORS))
    data[-4:] = np.float32(value).tobytes()  # of the last matrix
    update = Update.parse(bytes(data), SPACE, base_digest=BASE)
    with pytest.raises(NonFiniteUpdateError):
        update.validate()
    with pytest.raises(NonFiniteUpdateError):
        update.decode(SPACE.segment_count - 1)


# finding factors ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 500), (500, 40), (700, 600)], ids=str)
@pytest.mark.parametrize("rank", [1, 4, 13])
def test_a_change_of_low_rank_comes_back(shape, rank):
    space = ParameterSpace.of([TensorSpec("w", shape)])
    carrier = Factors(Part(space, (True,)), rank)
    change = change_of(factors_of(2, carrier), carrier)
    again = change_of(factorise(change, carrier), carrier)
    assert np.linalg.norm(again - change) < 1e-5 * np.linalg.norm(change)


def test_of_a_change_of_higher_rank_the_nearest_is_taken():
    space = ParameterSpace.of([TensorSpec("w", (450, 500))])
    carrier = Factors(Part(space, (True,)), 4)
    draws = np.random.default_rng(0)
    change = (draws.standard_normal((450, 60)) * 0.8 ** np.arange(60) @ draws.standard_normal((60, 500))).astype("f4")
    left = np.linalg.norm(change.reshape(-1) - change_of(factorise(change.reshape(-1), carrier), carrier))
    best = np.sqrt(np.sum(np.linalg.svd(change, compute_uv=False)[4:] ** 2))
    assert best <= left * 1.0001 < best * 1.001


def test_turned_components_lose_less_where_a_chunk_shares_a_scale():
    space = ParameterSpace.of([TensorSpec("w", (256, 256))])
    carrier = Factors(Part(space, (True,)), 8)
    draws = np.random.default_rng(0)
    change = (draws.standard_normal((256, 8)) * 0.5 ** np.arange(8) @ draws.standard_normal((8, 256))).astype("f4")
    flat, lost = change.reshape(-1), {}
    for turned in (False, True):
        update = parsed(CodecConfig(name="blockwise", bits=4), factorise(flat, carrier, turned=turned), carrier)
        lost[turned] = np.linalg.norm(update.decode(0) - flat) / np.linalg.norm(flat)
    assert lost[True] < 0.8 * lost[False]


# a contributor --------------------------------------------------------------------------


@every_codec
def test_what_is_sent_and_what_is_left_over_are_the_change(codec):
    wanted = Wanted(SPACE, BASE, codec, FACTORS)
    change = wanted.cut(change_of(factors_of(3)))
    done = finish_unit(wanted, change)
    said = np.zeros_like(change)
    wanted.add_decoded(said, [done.data])
    assert np.abs(said + done.residual_P - change).max() <= np.abs(change).max() * 1e-6
    assert (np.linalg.norm(done.residual_P) < 1e-5 * np.linalg.norm(change)) == (codec.name == "dense")


def test_error_feedback_sends_in_the_end_what_no_unit_could():
    """A change of rank 12 at rank 3: what is left over goes out with later units that change nothing."""
    space = ParameterSpace.of([TensorSpec("w", (64, 48))])
    carrier = Factors(Part(space, (True,)), 3)
    wanted = Wanted(space, BASE, CodecConfig(name="blockwise", bits=8), carrier)
    target = change_of(factors_of(4, Factors(Part(space, (True,)), 12)), Factors(Part(space, (True,)), 12))
    left, sent = target.copy(), np.zeros_like(target)
    for _ in range(6):
        done = finish_unit(wanted, left)
        wanted.add_decoded(sent, [done.data])
        left = done.residual_P
    assert np.linalg.norm(sent - target) < 0.01 * np.linalg.norm(target)


# a round --------------------------------------------------------------------------------


def merged(root, carriers: list[tuple[Factors, np.ndarray]], order: list[int], strategy: str = "mean") -> np.ndarray:
    """The change that a round of float32 factors makes of a base of zeros."""
    space = carriers[0][0].part.whole
    bench = Bench(BlobStore(root), ModelCache(root / "models", space))
    base = bench.models.put(np.zeros(space.size, dtype=np.float32))
    merge = MergeConfig(strategy=strategy, clip_norm_at=1e6)
    files = [
        finish_unit(Wanted(space, base, DENSE, carrier), Wanted(space, base, DENSE, carrier).cut(change_of(v, carrier)))
        for carrier, v in carriers
    ]
    digests = [bench.blobs.put(files[number].data) for number in order]
    job = MergeJob(base, plan_inputs(merge, [(digest, 1) for digest in digests]), None, merge, DENSE, EVERYWHERE)
    return np.array(bench.models.get(merge_now(bench, job, InlinePool(), 60.0).candidate.model_digest))


def test_the_mean_of_products_is_not_the_product_of_means(tmp_path):
    """What is merged is the former; averaging factor by factor would be off by what FedEx-LoRA calls the residual."""
    updates = [factors_of(seed) for seed in range(3)]
    products = np.mean([change_of(carried).astype(np.float64) for carried in updates], axis=0)
    of_means = change_of(np.mean(updates, axis=0, dtype=np.float32)).astype(np.float64)
    found = merged(tmp_path, [(FACTORS, carried) for carried in updates], [0, 1, 2])
    size = np.linalg.norm(products)
    assert np.linalg.norm(found - products) < 1e-5 * size
    assert np.linalg.norm(of_means - products) > 0.5 * size
    matrix = SPACE.unflatten(found)["w"]
    assert np.linalg.matrix_rank(matrix, tol=1e-5) == 3 * RANK  # and no average of factors has that rank


@pytest.mark.parametrize("strategy", ["mean", "trimmed-mean", "krum", "ties", "geometric-median"])
def test_any_strategy_merges_them_in_whatever_order(tmp_path, strategy):
    few = [(FEW, factors_of(seed, FEW)) for seed in range(5)]
    found = {merged(tmp_path, few, list(order), strategy).tobytes() for order in list(permutations(range(5)))[::50]}
    assert len(found) == 1


# what a run asks for --------------------------------------------------------------------


def asked(train: tuple[str, ...] = (), rank: int = 4) -> UpdateConfig:
    return UpdateConfig(codec=DENSE, train=train, lora=LoraConfig(rank=rank))


def test_without_names_every_matrix_has_factors():
    carrier = asked_carrier(SPACE, asked())
    assert [spec.name for spec in carrier.target.tensors] == ["large", "thin", "w"]
    assert carrier == Factors(FACTORS.part, 4)


def test_names_of_what_is_no_matrix_are_refused():
    with pytest.raises(ConfigValueError, match=r"names gain of shape \[7\]"):
        asked_carrier(SPACE, asked(("gain", "w")))
    with pytest.raises(ConfigValueError, match="has none"):
        asked_carrier(ParameterSpace.of([TensorSpec("gain", (7,))]), asked())


@pytest.mark.parametrize("other", [{"codec": {"name": "topk"}}, {"fisher": True}])
def test_settings_that_do_not_go_with_factors_are_refused(other):
    with pytest.raises(ValueError, match="lora"):
        UpdateConfig.model_validate({"codec": {"name": "dense"}, "lora": {"rank": 4}} | other)
