"""Signature: does the model still take and give what it is declared to?

    inputs = "tokens int64 [B, T]"
    outputs = "logits float32 [B, T, 256]"

Several are separated by ``;``. A number is a size that never changes, a letter one that varies,
and the same letter is the same size everywhere. The model is asked what it takes and gives, and
run once on two texts of three tokens, or two examples, to see that the shapes hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from barnraise.errors import UnknownStrategyError
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import FLAG, Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["SignatureKept", "difference", "parse_declared"]

Shape = tuple[int | str, ...]
Declared = dict[str, tuple[str, Shape]]
ONE = re.compile(r"\s*([A-Za-z_]\w*) ([a-z]+\d*(?:_\w+)?) \[([^\[\]]*)\]\s*")
DIMENSION = re.compile(r"[A-Za-z]\w*|[1-9]\d*")


@dataclass(frozen=True, slots=True)
class SignatureKept:
    """1 where inputs and outputs are as declared, else 0; the notes say what differs.

    Attributes:
        inputs, outputs: names, types and shapes; empty: not looked at, but one of them is needed.
    """

    name: ClassVar[str] = "signature"
    takes: ClassVar[Takes] = "nothing"
    version: ClassVar[int] = 1
    inputs: str = ""
    outputs: str = ""

    def __post_init__(self) -> None:
        for field in ("inputs", "outputs"):
            found = parse_declared(getattr(self, field))
            require(self, field, found is not None, 'a list such as "tokens int64 [B, T]; mask bool [B, T]"')
        if not self.inputs and not self.outputs:
            raise UnknownStrategyError(
                'signature: neither inputs nor outputs are declared; say what they are to be, such as "logits float32 '
                '[B, T, 256]"'
            )

    @property
    def metric(self) -> Metric:
        return FLAG

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        real = subject.signature
        differs = []
        letters: dict[str, int | str] = {}
        for side, wanted, found in (
            ("inputs", parse_declared(self.inputs), real.inputs),
            ("outputs", parse_declared(self.outputs), real.outputs),
        ):
            if wanted:
                differs += [f"{side}: {one}" for one in difference(wanted, found, letters)]
        differs += _run(subject)
        reason = "; ".join(differs) or "inputs and outputs are as declared"
        notes = {"reason": reason, "inputs": _said(real.inputs), "outputs": _said(real.outputs)}
        return Measured(np.array([0.0 if differs else 1.0]), notes)


def parse_declared(text: str) -> Declared | None:
    """What ``inputs`` or ``outputs`` say; None where it cannot be understood."""
    found: Declared = {}
    for part in text.split(";") if text.strip() else []:
        match = ONE.fullmatch(part)
        if match is None or match[1] in found:
            return None
        sizes = [size.strip() for size in match[3].split(",")] if match[3].strip() else []
        if not all(DIMENSION.fullmatch(size) for size in sizes):
            return None
        found[match[1]] = (match[2], tuple(int(size) if size.isdigit() else size for size in sizes))
    return found


def difference(wanted: Declared, found: Declared, letters: dict[str, int | str]) -> list[str]:
    """What of that which is found is not as wanted, in words.

    Args:
        letters: which letter stands for which so far, both ways; is added to.
    """
    differs = [f"{name} is missing" for name in wanted if name not in found]
    differs += [f"{name} is new" for name in found if name not in wanted]
    for name in wanted.keys() & found.keys():
        (dtype, shape), (real_dtype, real_shape) = wanted[name], found[name]
        if dtype != real_dtype:
            differs.append(f"{name} is {real_dtype}, declared {dtype}")
        if len(shape) != len(real_shape) or not all(
            _fits(size, real, letters) for size, real in zip(shape, real_shape, strict=True)
        ):
            differs.append(f"{name} is [{', '.join(map(str, real_shape))}], declared [{', '.join(map(str, shape))}]")
    return differs


def _said(found: Declared) -> str:
    return "; ".join(f"{name} {dtype} [{', '.join(map(str, shape))}]" for name, (dtype, shape) in found.items())


def _fits(size: int | str, real: int | str, letters: dict[str, int | str]) -> bool:
    if isinstance(size, int) or isinstance(real, int):
        return size == real
    return letters.setdefault(f"declared {size}", real) == real and letters.setdefault(f"found {real}", size) == size


def _run(subject: Subject) -> list[str]:
    """What a run on a tiny input gives, where that is not what the model's own signature says."""
    (shape,) = [shape for _, shape in subject.signature.inputs.values()][:1]
    letters = [size for size in shape if isinstance(size, str)]
    sizes: dict[int | str, int] = dict(zip(letters, (2, min(3, subject.context)), strict=False))
    given = [sizes.get(size, size) for size in shape]
    name, (_, promised) = next(iter(subject.signature.outputs.items()))
    expected = [sizes.get(size, size) for size in promised]
    found = list(subject.logits(torch.zeros([int(size) for size in given], dtype=torch.int64)).shape)
    if len(found) == len(expected) and all(isinstance(e, str) or e == f for e, f in zip(expected, found, strict=True)):
        return []
    return [f"outputs: given {given}, {name} is {found}, expected {expected}"]
