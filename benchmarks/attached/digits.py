"""The second case: scikit-learn's digits. A trunk knows six of them; fine-tunes learn the other four, with a new head.

Contributors see the digits 0 to 5, each in a form of its own (as they are, shifted, blurred, darker); their updates
are compressed and merged as any. Tasks are the digits 6 to 9, as they are, mirrored, and even against odd. A fine-tune
trains a new head, which begins at zero, and everything below it. Losses are bits an example on images that
were not trained on; cheap tests and the truth use different ones.

N  images
P  elements of trunk and new head
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from barnraise.digest import digest_bytes
from barnraise.update_config import CodecConfig
from barnraise.updates.space import ParameterSpace, TensorSpec
from benchmarks.attached.recipes import DIGITS_RECIPES, TRUNK, Recipe
from benchmarks.attached.study import AGAIN_WITH, FEW_WITH, MADE_WITH, WHOLE_WITH, Record
from benchmarks.convergence.trunk import BASE, Trunk
from contributor.unit import Wanted, finish_unit
from coordinator.acceptance.models.attachments import Attachment, parse_attachment, write_attachment

__all__ = ["VARIANTS", "jobs"]

Array = NDArray[np.float32]
Tensors = Mapping[str, Array]
VARIANTS = ("attached early", "attached", "attached early + 2", "attached + 2", "attached + 5", "short 5", "own")
SPACE = ParameterSpace.of(
    [
        TensorSpec("a.weight", (64, 64)),
        TensorSpec("a.bias", (64,)),
        TensorSpec("b.weight", (32, 64)),
        TensorSpec("b.bias", (32,)),
        TensorSpec("head.weight", (6, 32)),
        TensorSpec("head.bias", (6,)),
    ]
)
EARLY, LAST, SHOWN = 4, 16, (6, 8, 10, 12, 14, 16, 17, 18, 19, 20)
INNER_STEPS, BATCH, RATE = 8, 32, 4e-3
CODEC = CodecConfig(name="topk", k=512)
FULL_STEPS, FULL_RATE, FULL_IMAGES = 100, 1e-3, 80  # few: a longer fine-tune on all of them forgets what it began from


@dataclass(frozen=True)
class Images:
    """Images float32 [N, 64] and what they show, int64 [N]."""

    x_N64: Array
    y_N: NDArray[np.int64]

    def cut(self, first: int, stop: int | None = None) -> Images:
        return Images(self.x_N64[first:stop], self.y_N[first:stop])


def jobs() -> Iterator[tuple[tuple[str, str, str], Callable[[], Record]]]:
    """As the study's; none where scikit-learn is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        print("digits are not measured: they need scikit-learn")
        return
    known, unknown = _images()
    crowd = [Images(form, known.y_N).cut(300) for form in _forms(known.x_N64)]
    releases = _releases(crowd)
    for task, images in _tasks(unknown).items():
        cheap, truth, train = images.cut(0, 120), images.cut(120, 420), images.cut(420, 420 + FULL_IMAGES)
        attached = {name: _attachment(releases[name][1], train) for name in ("early", f"round {LAST}")}
        for name, (kind, trunk) in releases.items():
            if name != "early":
                parts = (train, cheap, truth, known.cut(0, 300))
                yield (
                    ("digits", name, task),
                    lambda name=name, kind=kind, trunk=trunk, task=task, parts=parts, attached=attached: _look_at(
                        (name, kind, task), trunk, parts, attached
                    ),
                )


def _images() -> tuple[Images, Images]:
    """The digits 0 to 5, and 6 to 9 (counted from 0 on), in an order without meaning."""
    from sklearn.datasets import load_digits

    x_N64, y_N = load_digits(return_X_y=True)
    order_N = np.random.default_rng(0).permutation(len(x_N64))
    x_N64, y_N = (x_N64[order_N] / 16).astype(np.float32), y_N[order_N].astype(np.int64)
    low_N = y_N < 6
    return Images(x_N64[low_N], y_N[low_N]), Images(x_N64[~low_N], y_N[~low_N] - 6)


def _forms(x_N64: Array) -> list[Array]:
    x_N88 = x_N64.reshape(-1, 8, 8)
    shifted = np.roll(x_N88, 1, axis=2)
    blurred = (x_N88 + np.roll(x_N88, 1, axis=1) + np.roll(x_N88, 1, axis=2)) / np.float32(3)
    return [x_N64, shifted.reshape(-1, 64), blurred.reshape(-1, 64), x_N64 * np.float32(0.5)]


def _tasks(images: Images) -> dict[str, Images]:
    mirrored = images.x_N64.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64).copy()
    return {
        "6 to 9": images,
        "6 to 9, mirrored": Images(mirrored, images.y_N),
        "even or odd": Images(images.x_N64, images.y_N % 2),
    }


def _logits(tensors: Mapping[str, torch.Tensor], x_N64: torch.Tensor) -> torch.Tensor:
    hidden = functional.relu(functional.linear(x_N64, tensors["a.weight"], tensors["a.bias"]))
    hidden = functional.relu(functional.linear(hidden, tensors["b.weight"], tensors["b.bias"]))
    return functional.linear(hidden, tensors["head.weight"], tensors["head.bias"])


def _trained(start: Tensors, images: Images, steps: int, rate: float, seed: int) -> dict[str, Array]:
    tensors = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in start.items()}
    optimiser = torch.optim.AdamW(list(tensors.values()), lr=rate, weight_decay=0.0)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        picked_B = np.random.default_rng([seed, step]).integers(0, len(images.y_N), BATCH)
        optimiser.zero_grad(set_to_none=True)
        logits = _logits(tensors, torch.from_numpy(images.x_N64[picked_B]))
        loss = functional.cross_entropy(logits, torch.from_numpy(images.y_N[picked_B]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _bits(tensors: Tensors, images: Images) -> float:
    with torch.inference_mode():
        made = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
        logits = _logits(made, torch.from_numpy(images.x_N64))
        return float(functional.cross_entropy(logits, torch.from_numpy(images.y_N))) / math.log(2)


def _releases(crowd: list[Images]) -> dict[str, tuple[str, dict[str, Array]]]:
    """Name -> kind and tensors."""
    draws = np.random.default_rng(1)
    first = {
        one.name: (draws.standard_normal(one.shape) / math.sqrt(one.shape[-1])).astype(np.float32)
        * np.float32(len(one.shape) > 1)
        for one in SPACE.tensors
    }
    at_P, found = SPACE.flatten(first), {}
    for number in range(1, max(SHOWN) + 1):
        if number == LAST + 1:
            for place, recipe in enumerate(DIGITS_RECIPES):
                made_P = _round(crowd, at_P, recipe, 1000 + place)
                found[recipe.name] = ("sibling" if recipe.honest else "damaged", dict(SPACE.unflatten(made_P)))
        at_P = _round(crowd, at_P, TRUNK, number)
        if number in SHOWN or number == EARLY:
            name = "early" if number == EARLY else f"round {number}"
            found[name] = ("trunk", dict(SPACE.unflatten(at_P)))
    return found


def _round(crowd: list[Images], base_P: Array, recipe: Recipe, number: int) -> Array:
    files = []
    for who in recipe.who:
        images, rate = crowd[who], RATE * (recipe.rate if who else 1.0)
        if recipe.gibberish and who == 0:
            images = Images(images.x_N64, np.roll(images.y_N, 1))
        steps = max(1, round(INNER_STEPS * recipe.steps))
        trained = _trained(dict(SPACE.unflatten(base_P)), images, steps, rate, number * 100 + who)
        target_P = SPACE.flatten(trained) - base_P
        if recipe.poison and who == 0:
            target_P = target_P * np.float32(recipe.poison)
        files.append(finish_unit(Wanted(SPACE, BASE, recipe.codec or CODEC), target_P).data)
    trunk = Trunk(SPACE, base_P.copy(), (1.0, 0.0))
    trunk.release(files, CodecConfig(name="dense"))
    spread = np.float32(recipe.noise * float(np.abs(base_P).mean()))
    noise_P = np.random.default_rng(number).standard_normal(SPACE.size, dtype=np.float32)
    return trunk.model_P + spread * noise_P


def _with_new_head(trunk: Tensors, classes: int) -> dict[str, Array]:
    below = {name: value for name, value in trunk.items() if not name.startswith("head")}
    return {**below, "head.weight": np.zeros((classes, 32), np.float32), "head.bias": np.zeros(classes, np.float32)}


def _attachment(trunk: Tensors, train: Images) -> Attachment:
    start = _with_new_head(trunk, int(train.y_N.max()) + 1)
    tuned = _trained(start, train, FULL_STEPS, FULL_RATE, MADE_WITH)
    data = write_attachment({name: tuned[name] - start[name] for name in tuned}, {})
    return parse_attachment(data, digest_bytes(data), "digits")


def _look_at(
    named: tuple[str, str, str],
    trunk: Tensors,
    parts: tuple[Images, Images, Images, Images],
    attached: Mapping[str, Attachment],
) -> Record:
    train, cheap, truth, known = parts
    start = _with_new_head(trunk, int(train.y_N.max()) + 1)
    early, last = attached["early"], attached[f"round {LAST}"]

    def few(at: Tensors, steps: int) -> Tensors:
        return _trained(at, train, steps, FULL_RATE, FEW_WITH)

    ways: dict[str, Callable[[], Tensors]] = {
        "attached early": lambda: early.applied_to(start),
        "attached": lambda: last.applied_to(start),
        "attached early + 2": lambda: few(early.applied_to(start), 2),
        "attached + 2": lambda: few(last.applied_to(start), 2),
        "attached + 5": lambda: few(last.applied_to(start), 5),
        "short 5": lambda: few(start, 5),
    }
    said, seconds = {}, {}
    for way, make in ways.items():
        begin = time.process_time()
        said[way] = _bits(make(), cheap)
        seconds[way] = time.process_time() - begin
    begin = time.process_time()
    said["own"] = _bits(trunk, known)
    seconds["own"] = time.process_time() - begin
    begin = time.process_time()
    tuned = _trained(start, train, FULL_STEPS, FULL_RATE, WHOLE_WITH)
    _bits(tuned, cheap)
    seconds["whole"] = time.process_time() - begin
    said["whole"] = _bits(tuned, truth)
    said["whole, again"] = _bits(_trained(start, train, FULL_STEPS, FULL_RATE, AGAIN_WITH), truth)
    return {
        "what": "digits", "release": named[0], "kind": named[1], "task": named[2], "said": said, "seconds": seconds
    }  # fmt: skip
