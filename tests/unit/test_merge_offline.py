"""Merging whole models: the numbers of a round, whatever the threads, types and files."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from barnraise import native
from barnraise.checkpoints.recipe import Recipe, parse_recipe, render_recipe
from barnraise.errors import (
    BarnraiseError,
    ConfigError,
    ConfigUnknownKeyError,
    ConfigValueError,
    MergeError,
    NonFiniteCheckpointError,
    NotEnoughUpdatesError,
    UnknownStrategyError,
    UsageError,
)
from barnraise.updates.space import ParameterSpace, TensorSpec
from merge.measure import measure_pieces, total
from merge.offline import Inputs, OfflineMerge, Progress, Treatment, bytes_to_read, choose, lay_out, merge_offline
from merge.offline.tensors import ITEM_BYTES, all_finite, narrow, widen
from merge.plan import MergeRules, plan_merge
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies import make_strategy

Model = Mapping[str, Tensor]
SHAPES: dict[str, tuple[int, ...]] = {
    "a.bias": (3,),
    "b.weight": (1100, 1000),  # crosses a segment of the canonical space
    "c.empty": (0, 4),
    "d.scalar": (),
    "e.weight": (40, 7),
}
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class Held:
    """A source in memory that checks how it is asked."""

    def __init__(self, tensors: Model) -> None:
        self.tensors = tensors

    def dtype(self, name: str) -> str:
        return NAMES[self.tensors[name].dtype]

    def block(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        flat = self.tensors[name].reshape(-1)
        assert 0 <= start <= end <= len(flat)
        data: NDArray[np.uint8] = flat[start:end].view(torch.uint8).numpy()
        return data

    def release(self, name: str, start: int, end: int) -> None:
        assert 0 <= start <= end <= self.tensors[name].numel()


class Kept:
    """A sink in memory; blocks of a tensor must come in order."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, name: str, start: int, data: NDArray[np.uint8]) -> None:
        with self._lock:
            there = self.parts.get(name, b"")
            assert (start == 0) == (there == b"")
            self.parts[name] = there + data.tobytes()

    def tensor(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        data = self.parts.get(name, b"")
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def model(seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: (torch.randn(shape, generator=generator) * scale).to(dtype) for name, shape in SHAPES.items()}


def near(base: Model, seed: int) -> dict[str, Tensor]:
    return {name: base[name] + change for name, change in model(seed, 1e-3).items()}


def merged(
    models: Sequence[Model],
    base: Model | None,
    treatments: Sequence[Treatment],
    which: Mapping[str, int] | None = None,
    *,
    dtype: str = "F32",
    workers: int = 1,
    **extras: Any,
) -> Kept:
    specs = [(TensorSpec(name, shape, dtype), (which or {}).get(name, 0)) for name, shape in SHAPES.items()]
    job = OfflineMerge(lay_out(specs), tuple(treatments))
    names = tuple(f"m{k}" for k in range(len(models)))
    inputs = Inputs([Held(one) for one in models], Held(base) if base else None, names, **extras)
    read = [0]
    lock = threading.Lock()

    def report(size_bytes: int) -> None:
        with lock:
            read[0] += size_bytes

    sink = Kept()
    merge_offline(job, inputs, sink, workers, Progress(report))
    assert read[0] == bytes_to_read(job, inputs)
    return sink


def rules(name: str, **options: float | str) -> MergeRules:
    return MergeRules(make_strategy(name, options), seed=7)


def flat(tensors: Model) -> Tensor:
    return torch.cat([tensors[name].reshape(-1) for name in sorted(tensors)])


STRATEGIES: list[tuple[str, dict[str, float | str]]] = [
    ("mean", {}),
    ("trimmed-mean", {"trim": 0.34}),
    ("median", {}),
    ("task-arithmetic", {}),
    ("ties", {"density": 0.3}),
    ("dare", {"density": 0.5}),
    ("della", {"density": 0.5}),
    ("breadcrumbs", {}),
    ("krum", {"liars": 0}),
    ("model-stock", {}),
    ("geometric-median", {}),
]


def as_a_round(base: Model, models: Sequence[Model], given_rules: MergeRules, weights: Sequence[float]) -> Tensor:
    """The change that a round makes of the same changes, segment by segment, float32 [P]."""
    space = ParameterSpace.of([TensorSpec(name, shape) for name, shape in SHAPES.items()])
    deltas = [flat(one) - flat(base) for one in models]
    parts = []
    for segment in range(space.segment_count):
        first, last = space.segment_range(segment)
        cut = [delta[first:last] for delta in deltas]
        parts.append(measure_pieces(cut, space.pieces(segment), magnitudes=True))
    measured = total(parts)
    plan = plan_merge(measured, weights, given_rules)
    magnitudes = {tensor: found.magnitudes for tensor, found in measured.items()}
    out = []
    for segment in range(space.segment_count):
        first, last = space.segment_range(segment)
        updates = SegmentUpdates([d[first:last] for d in deltas], space.pieces(segment), magnitudes)
        out.append(combine_segment(updates, plan, given_rules))
    return torch.cat(out)


@pytest.mark.parametrize(("name", "options"), [row for row in STRATEGIES if row[0] not in ("ties", "breadcrumbs")])
def test_the_same_bits_as_a_round(name: str, options: dict[str, float | str]) -> None:
    base = model(0)
    models = [near(base, seed) for seed in (1, 2, 3)]
    weights = (1.0, 2.0, 0.5)
    found = merged(models, base, [Treatment(rules(name, **options), weights)])
    change = as_a_round(base, models, rules(name, **options), weights)
    assert torch.equal(torch.cat([found.tensor(n) for n in sorted(SHAPES)]), flat(base) + change)


@pytest.mark.parametrize(("name", "options"), STRATEGIES)
def test_threads_change_nothing(name: str, options: dict[str, float | str]) -> None:
    base = model(0)
    models = [near(base, seed) for seed in (1, 2, 3)]
    treatment = Treatment(rules(name, **options), (1.0, 2.0, 0.5))
    alone, several = (merged(models, base, [treatment], workers=workers) for workers in (1, 3))
    assert alone.parts == several.parts


@pytest.mark.parametrize("name", ["mean", "median", "model-stock", "ties"])
def test_models_that_agree_with_the_base_leave_it_as_it_is(name: str) -> None:
    base = model(0)
    found = merged([base, base, base], base, [Treatment(rules(name), (1.0, 1.0, 1.0))])
    for tensor in SHAPES:
        assert torch.equal(found.tensor(tensor), base[tensor].reshape(-1))


def test_ties_keeps_exactly_the_share_that_was_asked_for() -> None:
    base = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    other = model(1)
    found = merged([other], base, [Treatment(rules("ties", density=0.25), (1.0,))]).tensor("b.weight")
    assert int((found != 0).sum()) == 275_000
    assert float(found[found != 0].abs().min()) > float(other["b.weight"].reshape(-1)[found == 0].abs().max())


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sampled_from(list(NAMES)), min_size=2, max_size=3), st.sampled_from(list(NAMES)))
def test_types_meet_in_float32_and_are_rounded_once(dtypes: list[torch.dtype], result: torch.dtype) -> None:
    models = [model(seed, dtype=dtype) for seed, dtype in enumerate(dtypes)]
    weights = tuple(float(k + 1) for k in range(len(models)))
    found = merged(models, None, [Treatment(rules("mean"), weights)], dtype=NAMES[result])
    for name in SHAPES:
        total_P = torch.zeros(models[0][name].numel())
        for k, one in enumerate(models):
            share = torch.tensor(weights[k] / sum(weights), dtype=torch.float64).to(torch.float32)
            term = one[name].reshape(-1).float() * share
            total_P = term if k == 0 else total_P + term
        assert torch.equal(found.tensor(name, result), total_P.to(result))


def test_bytes_that_do_not_lie_aligned_are_read_too() -> None:
    class Shifted(Held):
        def block(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
            data = super().block(name, start, end)
            room = np.zeros(len(data) + 1, np.uint8)
            room[1:] = data
            return room[1:]

    source = model(3)
    job = OfflineMerge(lay_out([(TensorSpec("e.weight", (40, 7)), 0)]), (Treatment(rules("mean"), (1.0,)),))
    sink = Kept()
    merge_offline(job, Inputs([Shifted(source)], None, ("m",)), sink, 1, Progress(lambda _: None))
    assert torch.equal(sink.tensor("e.weight"), source["e.weight"].reshape(-1))


# -- what is wrong is named ----------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("whose", ["m1", "the base"])
@pytest.mark.parametrize("name", ["mean", "ties", "krum"])
def test_a_value_that_is_not_finite(bad: float, whose: str, name: str) -> None:
    base = model(0)
    models = [near(base, 1), near(base, 2), near(base, 3)]
    (base if whose == "the base" else models[1])["e.weight"][3, 3] = bad
    with pytest.raises(NonFiniteCheckpointError, match=rf"'e\.weight' of {whose}"):
        merged(models, base, [Treatment(rules(name), (1.0, 1.0, 1.0))], workers=2)


def test_a_result_that_the_type_cannot_hold() -> None:
    models = [{name: torch.full(shape, 1e5) for name, shape in SHAPES.items()}] * 2
    treatment = Treatment(rules("mean"), (1.0, 1.0))
    with pytest.raises(NonFiniteCheckpointError, match="not finite as F16, the largest value is 100000"):
        merged(models, None, [treatment], dtype="F16")
    assert merged(models, None, [treatment], dtype="BF16").parts


def test_a_difference_beyond_float32() -> None:
    base = {name: torch.full(shape, -3e38) for name, shape in SHAPES.items()}
    other = {name: torch.full(shape, 3e38) for name, shape in SHAPES.items()}
    with pytest.raises(NonFiniteCheckpointError, match="m0 minus the base"):
        merged([other], base, [Treatment(rules("mean"), (1.0,))])


def test_a_large_sum_is_finite_all_the_same() -> None:
    large = {name: torch.full(shape, 3e38) for name, shape in SHAPES.items()}
    found = merged([large], None, [Treatment(rules("mean"), (1.0,))])
    assert torch.equal(found.tensor("e.weight"), large["e.weight"].reshape(-1))


def test_an_error_of_the_sink_ends_everything() -> None:
    class Full(Kept):
        def put(self, name: str, start: int, data: NDArray[np.uint8]) -> None:
            raise OSError(28, "No space left on device")

    job = OfflineMerge(
        lay_out([(TensorSpec(name, shape), 0) for name, shape in SHAPES.items()]),
        (Treatment(rules("mean"), (1.0,)),),
    )
    with pytest.raises(OSError, match="No space"):
        merge_offline(job, Inputs([Held(model(1))], None, ("m",)), Full(), 2, Progress(lambda _: None))


def test_a_pass_that_is_stopped_stops() -> None:
    treatment = Treatment(rules("mean"), (1.0,))

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    job = OfflineMerge(lay_out([(TensorSpec("b.weight", SHAPES["b.weight"]), 0)]), (treatment,))
    with pytest.raises(KeyboardInterrupt):
        merge_offline(job, Inputs([Held(model(1))], None, ("m",)), Kept(), 2, Progress(stop))


# -- overrides and side files --------------------------------------------------------------


def recipe(**changes: Any) -> Recipe:
    value: dict[str, Any] = {
        "strategy": "mean",
        "base": {"path": "base"},
        "models": [{"name": "a", "path": "a"}, {"name": "b", "path": "b", "weight": 3.0}],
    }
    return parse_recipe({**value, **changes}, "here")


def test_the_first_override_that_names_a_tensor_decides() -> None:
    chosen, which = choose(
        recipe(
            override=[
                {"tensors": "*.bias", "take": "base"},
                {"tensors": ["b.*", "a.*"], "weights": {"b": 0.0}},
                {"tensors": "d.*", "strategy": "ties", "options": {"density": 0.5}},
            ]
        ),
        list(SHAPES),
    )
    assert which == {"a.bias": 1, "b.weight": 2, "c.empty": 0, "d.scalar": 3, "e.weight": 0}
    assert [one.weights for one in chosen] == [(1.0, 3.0), (1.0, 3.0), (1.0, 0.0), (1.0, 3.0)]
    assert [one.take for one in chosen] == [None, -1, None, None]
    base = model(0)
    models = [near(base, 1), near(base, 2)]
    found = merged(models, base, chosen, which)
    assert torch.equal(found.tensor("a.bias"), base["a.bias"])
    assert torch.equal(
        found.tensor("b.weight"), (base["b.weight"] + (models[0]["b.weight"] - base["b.weight"])).view(-1)
    )


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"strategy": "tise"}, UnknownStrategyError, "ties"),
        ({"options": {"trim": 1}}, UnknownStrategyError, "has no option 'trim'"),
        ({"strategy": "ties", "options": {"density": 2}}, UnknownStrategyError, "density"),
        ({"strategy": "ties", "base": None}, UsageError, "needs|against a base"),
        ({"strategy": "task-arithmetic", "base": None}, UsageError, "against a base"),
        ({"strategy": "bulyan", "options": {"liars": 1}}, NotEnoughUpdatesError, "2 models to merge"),
        ({"strategy": "slerp", "models": [{"name": n, "path": n} for n in "abc"]}, MergeError, "goes between two"),
        (
            {"override": [{"tensors": "*.biss", "take": "a"}]},
            ConfigValueError,
            r"no tensor matches; there is 'a\.bias'",
        ),
        ({"override": [{"tensors": "*", "weights": {"a": 0, "b": 0}}]}, ConfigValueError, "all 0"),
    ],
)
def test_recipes_that_cannot_be_merged(changes: dict[str, Any], error: type[BarnraiseError], reason: str) -> None:
    given_recipe = recipe(**{key: value for key, value in changes.items() if value is not None})
    if changes.get("base", "") is None:
        given_recipe = given_recipe.model_copy(update={"base": None})
    with pytest.raises(error, match=reason):
        choose(given_recipe, list(SHAPES))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"models": []}, "models"),
        ({"models": [{"name": "a", "path": "a"}] * 2}, "names of their own"),
        ({"models": [{"name": "base", "path": "a"}]}, "names of their own"),
        ({"models": [{"name": "a", "path": "a", "weight": -1}]}, "weight"),
        ({"models": [{"name": "a", "path": "a", "weight": float("inf")}]}, "weight"),
        ({"override": [{"tensors": "*", "weights": {"c": 1}}]}, "there are a, b"),
        ({"override": [{"tensors": "*", "take": "c"}]}, "there are a, b"),
        ({"override": [{"tensors": "*", "take": "a", "strategy": "mean"}]}, "not merged"),
        ({"override": [{"tensors": []}]}, "tensors"),
        ({"dtype": "f8"}, "dtype"),
        ({"format": "barnraise-merge-2"}, "format"),
        ({"result": "b3:0"}, "result"),
        ({"seed": -1}, "seed"),
    ],
)
def test_recipes_that_are_none(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        recipe(**changes)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigUnknownKeyError, match=r"models\.0\.wieght.*did you mean 'weight'"):
        recipe(models=[{"name": "a", "path": "a", "wieght": 1}])


@settings(deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.text()),
    st.text(min_size=1).filter(lambda text: text != "base"),
    st.floats(0, allow_infinity=False),
    st.integers(0, 2**63 - 1),
)
def test_a_recipe_is_read_as_it_was_written(
    options: dict[str, float | str], name: str, weight: float, seed: int
) -> None:
    import tomllib

    made = recipe(
        options=options,
        seed=seed,
        models=[{"name": name, "path": name, "weight": weight, "fisher": {"path": name}}],
        override=[{"tensors": [name, "*"], "weights": {name: weight}, "options": options}],
    )
    assert parse_recipe(tomllib.loads(render_recipe(made)), "again") == made


def test_fishers_decide_element_by_element() -> None:
    models = [model(1), model(2)]
    sure = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    unsure = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    treatment = Treatment(rules("fisher"), (1.0, 1.0))
    found = merged(models, None, [treatment], fishers=[Held(unsure), Held(sure)])
    assert torch.equal(found.tensor("e.weight"), models[1]["e.weight"].reshape(-1))
    sure["e.weight"][0, 0] = -1
    with pytest.raises(NonFiniteCheckpointError, match=r"the Fisher of m1 .*'e\.weight'"):
        merged(models, None, [treatment], fishers=[Held(unsure), Held(sure)])


def test_gram_matrices_decide_direction_by_direction() -> None:
    models = [model(1), model(2)]
    first, second = torch.zeros(7, 7), torch.zeros(7, 7)
    first[0, 0] = second[1, 1] = 1.0
    found = merged(
        models,
        None,
        [Treatment(rules("regmean", alpha=1.0), (1.0, 1.0))],
        grams=[Held({"e.weight": first}), Held({"e.weight": second})],
        with_gram=frozenset({"e.weight"}),
    )
    matrix = found.tensor("e.weight").view(40, 7)
    assert torch.allclose(matrix[:, 0], models[0]["e.weight"][:, 0])
    assert torch.allclose(matrix[:, 1], models[1]["e.weight"][:, 1])
    assert torch.equal(found.tensor("a.bias"), models[0]["a.bias"] * 0.5 + models[1]["a.bias"] * 0.5)


# -- without torch, and with -----------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=70), st.sampled_from(["BF16", "F16"]), st.booleans())
def test_stored_types_round_as_torch_rounds(bits: list[int], dtype: str, compiled: bool) -> None:
    assert set(ITEM_BYTES) == set(NAMES.values())
    torch_dtype = {name: kind for kind, name in NAMES.items()}[dtype]
    values_B = np.array(bits, dtype=np.uint32).view(np.float32)
    expected = torch.from_numpy(values_B).to(torch_dtype)
    with contextlib.nullcontext() if compiled else native.disabled():
        found = narrow(values_B, dtype)
        back_B = np.empty(len(bits), dtype=np.float32)
        widen(found, dtype, back_B)
    finite = torch.isfinite(expected)
    assert torch.equal(torch.from_numpy(found.copy()).view(torch_dtype)[finite], expected[finite])
    assert torch.equal(torch.from_numpy(back_B)[finite], expected.float()[finite])
    assert all_finite(found, dtype) == bool(finite.all())
    assert all_finite(values_B.view(np.uint8), "F32") == bool(np.isfinite(values_B).all())


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(["mean", "task-arithmetic"]), st.booleans(), st.lists(st.floats(0, 9), min_size=2, max_size=4))
def test_adding_up_has_the_bits_of_the_strategy_in_torch(name: str, with_base: bool, weights: list[float]) -> None:
    base = model(0) if with_base else None
    models = [near(model(0), seed) for seed in range(len(weights))]
    treatment = Treatment(rules(name), (*weights, 1.0))
    with native.disabled():
        plain = merged([*models, model(9)], base, [treatment])
    assert plain.parts == merged([*models, model(9)], base, [treatment], workers=2).parts


@pytest.mark.skipif(not native.available(), reason="only the compiled loops add up without torch")
def test_adding_models_up_imports_no_torch() -> None:
    story = """
import sys
import numpy as np
from barnraise.checkpoints.recipe import parse_recipe
from barnraise.updates.space import TensorSpec
from merge.offline import Inputs, OfflineMerge, Progress, choose, lay_out, merge_offline

class Ones:
    def dtype(self, name): return "F32"
    def block(self, name, start, end): return np.ones(end - start, np.float32).view(np.uint8)
    def release(self, name, start, end): pass
    def put(self, name, start, data): print(data.view(np.float32)[0])

models = [{"name": name, "path": name} for name in "ab"]
recipe = parse_recipe({"strategy": sys.argv[1], "base": {"path": "c"}, "models": models}, "here")
treatments, which = choose(recipe, ["t"])
job = OfflineMerge(lay_out([(TensorSpec("t", (9,)), 0)]), treatments)
merge_offline(job, Inputs([Ones(), Ones()], Ones(), ("a", "b")), Ones(), 2, Progress(lambda _: None))
print("torch" in sys.modules)
"""
    for strategy, with_torch in (("mean", False), ("task-arithmetic", False), ("median", True)):
        command = [sys.executable, "-c", story, strategy]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.split() == ["1.0", str(with_torch)]
