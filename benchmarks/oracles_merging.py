"""Do our merging rules agree with mergekit's on the same checkpoints, and where do definitions differ?

    python benchmarks/oracles_merging.py --peers PYTHON [--write]

PYTHON has mergekit installed, which merges three small llama-shaped checkpoints through its
documented interface. Ours are merged by the engine, tensor by tensor. What is compared is the
merged change (merged minus base): the largest difference beside the largest change of the
tensor, the worst tensor; and the share of elements that differ by more than 1e-5 of it. Rules
that draw lots cannot agree element by element: there the share that stays and its rescaling
are compared. ``--write`` leaves a dated file in results/.

K  models
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from report import arguments, finish, heading
from safetensors.torch import load_file, save_file
from torch import Tensor

from barnraise.updates import Piece
from merge.magnitudes import Magnitudes, refined
from merge.measure import TensorMeasure, measure_pieces
from merge.plan import MergeRules, plan_merge
from merge.segment import SegmentUpdates, combine_segment
from merge.strategies import make_strategy
from merge.strategies.rule import PrunesUpdates, Strategy

Model = dict[str, Tensor]

VISIBLE = 1e-5
LOTS_HEAD = [
    "| | stays | of the smallest tenth | of the largest tenth | what stays is multiplied by | sum of sizes after |",
    "|---|---|---|---|---|---|",
]
REMARKS = [
    "mergekit multiplies what stays of a tensor by one number that keeps the sum of magnitudes; the papers, and ours,",
    "divide every element by its own probability of staying, which keeps the expected value of every element. DELLA's",
    "ranks are taken within the rows of a matrix there, within the tensor here. A vote by count could not be asked",
    "for in mergekit's configuration (it elected by mass), so that election is tested against brute force only.",
    "Where several elements are exactly as large as the last one that TIES keeps, all of them stay here, some there.",
]

HIDDEN, LAYERS, INNER, VOCABULARY = 128, 2, 256, 512
WEIGHTS = (0.5, 0.3, 0.9)
NAMES = ("a", "b", "c")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


@dataclass(frozen=True)
class Case:
    """One merge, said twice.

    Attributes:
        ours: strategy and options. theirs: method and parameters of the whole merge.
        each: parameters of each model. models: how many. changes: merge changes against the base.
        remark: what differs in the definitions.
    """

    name: str
    ours: tuple[str, dict[str, float | str]]
    theirs: tuple[str, dict[str, object]]
    each: dict[str, object]
    remark: str
    models: int = 3
    changes: bool = True
    base: bool = True
    equal: bool = False

    @property
    def weights(self) -> list[float]:
        return [1.0] * self.models if self.equal else list(WEIGHTS[: self.models])


SUM: dict[str, float | str] = {"divisor": "none"}
STAYS_AT_THE_MEAN = (
    "mergekit's result is the normalised weighted mean of the directions, where our iteration begins (steps = 0); the "
    "point with the least squared angles is elsewhere"
)
CASES = [
    Case("linear", ("mean", {}), ("linear", {"normalize": True}), {}, "the same rule", changes=False, base=False),
    Case(
        "task_arithmetic",
        ("task-arithmetic", {**SUM, "scale": 0.7}),
        ("task_arithmetic", {"normalize": False, "lambda": 0.7}),
        {},
        "the same rule; by default ours divides by the weights",
    ),
    Case("ties", ("ties", {}), ("ties", {"normalize": True}), {"density": 0.2}, "the same rule"),
    Case(
        "ties, not divided",
        ("ties", {**SUM, "scale": 0.5, "density": 0.6}),
        ("ties", {"normalize": False, "lambda": 0.5}),
        {"density": 0.6},
        "the same rule",
    ),
    Case(
        "breadcrumbs",
        ("breadcrumbs", {**SUM, "density": 0.5, "gamma": 0.05}),
        ("breadcrumbs", {"normalize": False}),
        {"density": 0.5, "gamma": 0.05},
        "the same rule",
    ),
    Case(
        "breadcrumbs_ties",
        ("breadcrumbs", {"density": 0.5, "gamma": 0.05, "consensus": "ties"}),
        ("breadcrumbs_ties", {"normalize": True}),
        {"density": 0.5, "gamma": 0.05},
        "the same rule",
    ),
    Case(
        "slerp of weights",
        ("slerp", {"t": 0.3}),
        ("slerp", {"t": 0.3}),
        {},
        "the same rule",
        models=2,
        base=False,
        changes=False,
    ),
    Case(
        "multislerp, steps = 0",
        ("multi-slerp", {"steps": 0}),
        ("multislerp", {"normalize_weights": True}),
        {},
        STAYS_AT_THE_MEAN,
    ),
    Case(
        "multislerp, steps = 10",
        ("multi-slerp", {}),
        ("multislerp", {"normalize_weights": True}),
        {},
        "see above; agreement is not expected",
    ),
    Case(
        "model_stock",
        ("model-stock", {}),
        ("model_stock", {"filter_wise": False}),
        {},
        "the same rule; cosines in float64 here",
        equal=True,
    ),
]
BY_LOT: list[tuple[str, str, dict[str, float], dict[str, float | str]]] = [
    ("dare_linear", "dare", {"density": 0.3}, {"density": 0.3}),
    ("della_linear", "della", {"density": 0.4, "epsilon": 0.2}, {"density": 0.4, "epsilon": 0.4, "consensus": "sum"}),
]
"""Method, strategy, its parameters, our options: mergekit's window is density +- epsilon, the paper's epsilon wide."""


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}."
        found[place + "input_layernorm.weight"] = found[place + "post_attention_layernorm.weight"] = (HIDDEN,)
        for letter in "qkvo":
            found[place + f"self_attn.{letter}_proj.weight"] = (HIDDEN, HIDDEN)
        found[place + "mlp.gate_proj.weight"] = found[place + "mlp.up_proj.weight"] = (INNER, HIDDEN)
        found[place + "mlp.down_proj.weight"] = (HIDDEN, INNER)
    return {**found, "model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def checkpoints() -> tuple[Model, list[Model]]:
    """A base, and models that share a part of their change; one of them changes three times as much."""
    draws = torch.Generator().manual_seed(0)

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=draws)

    base = {name: normal(shape) * 0.02 for name, shape in shapes().items()}
    common = {name: normal(shape) * 0.0007 for name, shape in shapes().items()}
    sizes = (0.001, 0.003, 0.0005)
    models = [{n: base[n] + common[n] + normal(s) * size for n, s in shapes().items()} for size in sizes]
    return base, models


def write_inputs(folder: Path, base: Model, models: Sequence[Model]) -> None:
    for name, model in [("base", base), *zip(NAMES, models, strict=True)]:
        (folder / name).mkdir()
        save_file(model, folder / name / "model.safetensors", metadata={"format": "pt"})
        (folder / name / "config.json").write_text(json.dumps(CONFIG))


def configuration(folder: Path, case: Case) -> dict[str, object]:
    """What mergekit is asked to do for one case."""
    method, parameters = case.theirs
    weighed = method not in ("slerp", "model_stock")
    models = [
        {"model": str(folder / name), "parameters": {**({"weight": weight} if weighed else {}), **case.each}}
        for name, weight in zip(NAMES, case.weights, strict=False)
    ]
    base = folder / ("base" if case.base else NAMES[0])
    made: dict[str, object] = {"merge_method": method, "dtype": "float32", "models": models, "parameters": parameters}
    return made if method == "linear" else {**made, "base_model": str(base)}


def lots_configuration(folder: Path, method: str, parameters: dict[str, float]) -> dict[str, object]:
    """One model alone, so that what stays of it can be seen."""
    model = {"model": str(folder / "a"), "parameters": {"weight": 1.0, **parameters}}
    common = {"merge_method": method, "dtype": "float32", "base_model": str(folder / "base")}
    return {**common, "models": [model], "parameters": {"normalize": False}}


def ask(python: str, folder: Path, configurations: Sequence[dict[str, object]]) -> tuple[str, list[Model]]:
    """mergekit's version and its merged models, in the order of the configurations."""
    into = [str(folder / f"out{n}") for n in range(len(configurations))]
    jobs = [{"into": out, "config": config} for out, config in zip(into, configurations, strict=True)]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("peers") / "mergekit_rules.py"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    asked = [python, str(script), str(folder / "jobs.json")]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.splitlines()
    failed = [line for line in lines[1:] if not line.endswith(" done")]
    if failed or len(lines) != len(jobs) + 1:
        raise SystemExit(f"mergekit: {failed or done.stderr[-2000:]}")
    return lines[0], [load_file(out + "/model.safetensors") for out in into]


def merge(strategy: Strategy, rows: dict[str, list[Tensor]], weights: Sequence[float], *, exact: bool) -> Model:
    """Merge tensor by tensor, as an offline merge does.

    Args:
        exact: refine the magnitudes where the strategy cuts.
    """
    rules, merged, place = MergeRules(strategy, seed=7), {}, 0
    counting = isinstance(strategy, PrunesUpdates) and strategy.by_magnitude
    for name, tensors in rows.items():
        flat = [tensor.reshape(-1) for tensor in tensors]
        piece = Piece(0, 0, flat[0].numel(), place)
        measured = measure_pieces(flat, [piece], magnitudes=counting)
        magnitudes = _refined(strategy, measured[0], flat) if exact else measured[0].magnitudes
        updates = SegmentUpdates(flat, [piece], {0: magnitudes} if counting else None)
        merged[name] = combine_segment(updates, plan_merge(measured, weights, rules), rules).view(tensors[0].shape)
        place += flat[0].numel()
    return merged


def _refined(strategy: Strategy, measured: TensorMeasure, rows: Sequence[Tensor]) -> list[Magnitudes]:
    cuts = getattr(strategy, "cuts", None)
    if cuts is None:
        return list(measured.magnitudes)
    pairs = zip(measured.magnitudes, rows, strict=True)
    return [refined(counts, cuts(counts.elements), [row_P]) for counts, row_P in pairs]


def compare(case: Case, theirs: Model, base: Model, models: Sequence[Model], *, exact: bool) -> tuple[float, float]:
    """Largest relative difference of any tensor, and the share of all elements that differ visibly."""
    used = models[: case.models]
    rows = {name: [m[name] - base[name] if case.changes else m[name] for m in used] for name in base}
    ours = merge(make_strategy(*case.ours), rows, case.weights, exact=exact)
    worst, differing, elements = 0.0, 0, 0
    for name, mine in ours.items():
        other = theirs[name] - base[name] if case.changes else theirs[name]
        apart = (mine - other).abs() / other.abs().max()
        worst = max(worst, float(apart.max()))
        differing += int((apart > VISIBLE).sum())
        elements += apart.numel()
    return worst, differing / elements


def lots(strategy: str, options: dict[str, float | str], theirs: Model, base: Model, model: Model) -> list[str]:
    """Rows of the table of rules that draw lots: theirs and ours."""
    changes = {name: [model[name] - base[name]] for name in base}
    ours = merge(make_strategy(strategy, {**options, **SUM}), changes, [1.0], exact=False)
    found = []
    for who, merged in (("mergekit", {n: theirs[n] - base[n] for n in base}), ("ours", ours)):
        change_P = torch.cat([changes[name][0].reshape(-1) for name in base])
        merged_P = torch.cat([merged[name].reshape(-1) for name in base])
        stays_P = merged_P.abs() > 1e-7  # what rounding of base plus change leaves is below
        by_size = change_P.abs().argsort()
        tenths = [float(part.to(torch.float32).mean()) for part in stays_P[by_size].chunk(10)]
        large_P = stays_P & (change_P.abs() > change_P.abs().median())
        ratio_P = merged_P[large_P] / change_P[large_P]
        sums = float(merged_P.abs().sum() / change_P.abs().sum())
        found.append(
            f"| {who} | {float(stays_P.float().mean()):.4f} | {tenths[0]:.3f} | {tenths[9]:.3f} "
            f"| {float(ratio_P.min()):.3f} to {float(ratio_P.max()):.3f} | {sums:.4f} |"
        )
    return found


def spherical(base: Model, models: Sequence[Model], theirs: Model) -> str:
    """How far the results of multi-slerp are from the converged spherical mean, in degrees, worst tensor."""
    rows = {name: [m[name] - base[name] for m in models] for name in base}
    goal = merge(make_strategy("multi-slerp", {"steps": 100}), rows, WEIGHTS, exact=False)

    def worst(found: Model) -> float:
        pairs = [(found[name].double().reshape(-1), goal[name].double().reshape(-1)) for name in base]
        cosines = [float(torch.dot(x, y) / (x.norm() * y.norm())) for x, y in pairs]
        return max(math.degrees(math.acos(min(1.0, cosine))) for cosine in cosines)

    ours = {n: merge(make_strategy("multi-slerp", {"steps": n}), rows, WEIGHTS, exact=False) for n in (1, 10)}
    peer = worst({name: theirs[name] - base[name] for name in base})
    return (
        f"Angle to the spherical mean (100 steps), worst tensor: mergekit {peer:.3f} degrees, "
        f"ours after 1 step {worst(ours[1]):.3f}, after 10 {worst(ours[10]):.5f}."
    )


def page(python: str) -> list[str]:
    base, models = checkpoints()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, base, models)
        asked = [configuration(folder, case) for case in CASES]
        asked += [lots_configuration(folder, method, parameters) for method, _, parameters, _ in BY_LOT]
        version, merged = ask(python, folder, asked)
    lines = [
        *heading("Our merging rules beside mergekit's", "torch", peer=version),
        f"Llama-shaped checkpoints of {sum(t.numel() for t in base.values()):,} float32 parameters, three models, "
        f"weights {WEIGHTS}.",
        "",
        "Largest difference of a tensor beside its largest merged change, over all tensors; then the share of elements",
        f"that differ by more than {VISIBLE:g} of it. Magnitudes are refined (exact, as in a merge offline), but for",
        "the column in one pass, where they are known to 8 significant bits, as in a round.",
        "",
        "| mergekit's method | largest difference | share that differs | the same in one pass | remark |",
        "|---|---|---|---|---|",
    ]
    for case, theirs in zip(CASES, merged, strict=False):
        worst, share = compare(case, theirs, base, models, exact=True)
        cuts = hasattr(make_strategy(*case.ours), "cuts")
        once = f"{compare(case, theirs, base, models, exact=False)[1]:.2%} differ" if cuts else ""
        lines.append(f"| {case.name} | {worst:.1e} | {share:.2%} | {once} | {case.remark} |")
    lines += ["", spherical(base, models, merged[[case.name for case in CASES].index("multislerp, steps = 0")]), ""]
    for (method, strategy, _, options), theirs in zip(BY_LOT, merged[len(CASES) :], strict=True):
        lines += [
            f"## {method}, one model, {options}",
            "",
            *LOTS_HEAD,
            *lots(strategy, options, theirs, base, models[0]),
        ]
        lines += [""]
    return [*lines, *REMARKS]


def main() -> None:
    chosen = arguments(__doc__, peers="a Python with mergekit installed").parse_args()
    if chosen.peers is None:
        print("mergekit: not measured; say --peers PYTHON")
        return
    finish("oracles_merging", page(chosen.peers), write=chosen.write)


if __name__ == "__main__":
    main()
