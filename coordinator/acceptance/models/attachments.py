"""Attachments: what a fine-tune changed in the model that it was made on, to be put on later models.

    delta          NAME                                     candidate + scale * tensor
    low rank       NAME.lora_A and NAME.lora_B              candidate + scale * (B @ A)
    replacement    NAME, with "form": "replace"             the tensor itself: a head, or any others

A file is safetensors and nothing else. Low-rank factors may carry the names that peft writes,
``base_model.model.NAME.lora_A.weight``, for the parameter ``NAME.weight``; their scale,
``lora_alpha / r``, is not in that file, so a test gives it as its option, and whole tensors beside
them are replacements, as peft saves them. Putting a delta on
another model than it was made on is task arithmetic: it holds as far as the two are alike.

Source: Ilharco et al. 2023, https://arxiv.org/abs/2212.04089 (task vectors); Hu et al. 2021,
https://arxiv.org/abs/2106.09685 (low rank); https://huggingface.co/docs/peft/developer_guides/checkpoint.

R  rank
O, I  rows and columns of a matrix
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import FLOATS
from barnraise.checkpoints.header import StoredTensor, encode_header, parse_header
from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError, NotACheckpointError
from barnraise.suite import DataSetConfig

__all__ = ["Attachment", "LowRank", "parse_attachment", "read_attachment", "write_attachment"]

Array = NDArray[np.float32]
Form = Literal["delta", "replace"]

METADATA = "barnraise.attachment"
FILE_MAX_BYTES = 1 << 34
PEFT_PREFIX = "base_model.model."
_SIDES = (".lora_A.weight", ".lora_B.weight", ".lora_A", ".lora_B")


@dataclass(frozen=True, slots=True)
class LowRank:
    """Two factors whose product is a change of one matrix: ``a_RI`` float32 [R, I], ``b_OR`` float32 [O, R]."""

    a_RI: Array
    b_OR: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.b_OR.shape[0], self.a_RI.shape[1]

    def product(self) -> Array:
        """float32 [O, I], summed over ranks one after the other, so that it has the same bits everywhere."""
        total_OI = np.zeros(self.shape, np.float32)
        for a_I, b_O in zip(self.a_RI, self.b_OR.T, strict=True):
            total_OI += np.outer(b_O, a_I)
        return total_OI


@dataclass(frozen=True)
class Attachment:
    """What is put on a model.

    Attributes:
        changes: parameter -> what happens to it. form: what whole tensors are; low rank is always added.
        scale: what everything that is added is multiplied by.
        made: provenance as the file states it: nobody checked it. digest: of the file.
    """

    changes: Mapping[str, Array | LowRank]
    form: Form = "delta"
    scale: float = 1.0
    made: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def applied_to(self, tensors: Mapping[str, Array], scale: float = 1.0) -> dict[str, Array]:
        """The tensors with this attachment, new arrays where it changes something; float32 throughout.

        Args:
            tensors: name -> float32, of the model. scale: times the attachment's own.

        Raises:
            AcceptanceError: the model lacks a tensor that this changes, or has it in another shape; or there is nothing
                that a scale could multiply.
        """
        adds = self.form == "delta" or any(isinstance(change, LowRank) for change in self.changes.values())
        if self.scale * scale != 1.0 and not adds:
            raise AcceptanceError(
                f"the attachment adds nothing, it replaces {len(self.changes)} tensors, so a scale of "
                f"{self.scale * scale:g} means nothing; remove it"
            )
        found = dict(tensors)
        for name, change in self.changes.items():
            _require_fit(name, change.shape, tensors)
            if isinstance(change, LowRank):
                found[name] = _added(tensors[name], change.product(), self.scale * scale)
            elif self.form == "delta":
                found[name] = _added(tensors[name], change, self.scale * scale)
            else:
                found[name] = change.copy()
        return found


def _added(tensor: Array, change: Array, scale: float) -> Array:
    with np.errstate(over="ignore"):  # a model that overflows is scored as one
        return tensor + (change if scale == 1.0 else np.float32(scale) * change)


def _require_fit(name: str, shape: tuple[int, ...], tensors: Mapping[str, Array]) -> None:
    if name not in tensors:
        raise AcceptanceError(
            f"the attachment changes {name!a}, which is none of the model's {len(tensors)} tensors; it was made on "
            "another architecture. Make it anew on this one, or remove the test"
        )
    if tensors[name].shape != shape:
        ours = tensors[name].shape
        grown = len(ours) == len(shape) and all(now >= then for now, then in zip(ours, shape, strict=True))
        why = "the model has grown since it was made" if grown else "it was made on another architecture"
        raise AcceptanceError(
            f"the attachment changes {name!a} of shape {list(shape)}, the model has it as {list(tensors[name].shape)}: "
            f"{why}. Make it anew on this one, or remove the test"
        )


def write_attachment(
    tensors: Mapping[str, Array], made: Mapping[str, Any], *, form: Form = "delta", scale: float = 1.0
) -> bytes:
    """A file with these tensors, under the names of the drawing above.

    Args:
        tensors: name -> float32. made: provenance, JSON values.
    """
    said = {"form": form, "scale": scale, "made": dict(made)}
    stored, place = [], 0
    for name in sorted(tensors):
        stored.append(
            StoredTensor(name, "F32", tuple(tensors[name].shape), place, place := place + tensors[name].nbytes)
        )
    head = encode_header(stored, {METADATA: json.dumps(said, sort_keys=True)})
    return head + b"".join(np.ascontiguousarray(tensors[one.name], dtype="<f4").tobytes() for one in stored)


def read_attachment(folder: Path, name: str, wanted: DataSetConfig) -> bytes:
    """The bytes of an attachment beside a suite's file, as the suite pins them.

    Raises:
        AcceptanceError: there is no such file, or another one; or it is no attachment.
    """
    path = folder / wanted.path
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= FILE_MAX_BYTES else b""
    except OSError as error:
        raise AcceptanceError(
            f"attachment {name}: {path} cannot be read ({error.strerror}); restore that file"
        ) from error
    if size > FILE_MAX_BYTES:
        raise AcceptanceError(f"attachment {name}: {path} has {size:,} bytes, more than {FILE_MAX_BYTES:,}")
    parse_attachment(data, wanted.digest, name)
    return data


def parse_attachment(data: bytes, digest: str, name: str) -> Attachment:
    """The attachment in a file.

    Args:
        digest: what the suite pins. name: of the attachment, for messages.

    Raises:
        AcceptanceError: other bytes than those that are pinned, or no attachment that can be read.
    """
    found = digest_bytes(data)
    if found != digest:
        raise AcceptanceError(
            f"attachment {name} is {found[:15]}.., the suite pins {digest[:15]}..; restore that file, or pin this one"
        )
    try:
        stored = parse_header(memoryview(data), len(data), f"attachment {name}")
    except NotACheckpointError as error:
        raise AcceptanceError(str(error)) from error
    said = _said(data, name)
    changes = _changes({one.name: _floats(data, one, name) for one in stored}, name)
    if not changes:
        raise AcceptanceError(f"attachment {name} changes nothing: it has no tensor")
    if said is None and not any(isinstance(change, LowRank) for change in changes.values()):
        raise AcceptanceError(
            f"attachment {name} does not say whether its tensors are added or replace the model's; give its header "
            f"{METADATA}, as write_attachment does"
        )
    if said is None:
        return Attachment(changes, "replace", digest=digest)
    return Attachment(changes, said["form"], said["scale"], said["made"], digest)


def _said(data: bytes, name: str) -> dict[str, Any] | None:
    """Form, scale and provenance; None of a file that another program wrote."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__")
    text = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if text is None:
        return None
    try:
        said = json.loads(text)
        form, scale, made = said["form"], float(said["scale"]), said["made"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise AcceptanceError(f"attachment {name}: {METADATA} in its header is not form, scale and made") from error
    if form not in ("delta", "replace") or not np.isfinite(scale) or not isinstance(made, dict):
        raise AcceptanceError(f"attachment {name}: its form is {form!a} and its scale {scale}; make it anew")
    return {"form": form, "scale": scale, "made": made}


def _floats(data: bytes, stored: StoredTensor, name: str) -> Array:
    if stored.dtype not in FLOATS:
        raise AcceptanceError(
            f"attachment {name}: {stored.name!a} is of type {stored.dtype}, expected one of {', '.join(FLOATS)}"
        )
    raw = memoryview(data)[stored.begin : stored.end]
    if stored.dtype == "F32":
        values = np.frombuffer(raw, "<f4").astype(np.float32)
    elif stored.dtype == "F16":
        values = np.frombuffer(raw, "<f2").astype(np.float32)
    else:
        values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        raise AcceptanceError(f"attachment {name}: {broken:,} values of {stored.name!a} are not finite; make it anew")
    return values.reshape(stored.shape)


def _changes(tensors: Mapping[str, Array], name: str) -> dict[str, Array | LowRank]:
    """Whole tensors as they are, and the two factors of each low-rank change together."""
    changes: dict[str, Array | LowRank] = {}
    factors: dict[str, dict[str, Array]] = {}
    for stored, values in tensors.items():
        side = next((end for end in _SIDES if stored.endswith(end)), None)
        if side is None:
            if "lora_" in stored:
                raise AcceptanceError(
                    f"attachment {name}: {stored!a} is a part of a low-rank change that is not read here; merge that "
                    "adapter into its model, and attach the difference"
                )
            changes[stored.removeprefix(PEFT_PREFIX)] = values
            continue
        target = stored.removesuffix(side).removeprefix(PEFT_PREFIX) + (".weight" if side.endswith(".weight") else "")
        factors.setdefault(target, {})[side[6]] = values
    for target, sides in factors.items():
        if sides.keys() != {"A", "B"} or any(one.ndim != 2 for one in sides.values()):
            raise AcceptanceError(f"attachment {name}: {target!a} needs one matrix lora_A and one lora_B")
        pair = LowRank(sides["A"], sides["B"])
        if pair.a_RI.shape[0] != pair.b_OR.shape[1] or target in changes:
            raise AcceptanceError(
                f"attachment {name}: lora_A of {target!a} is {list(pair.a_RI.shape)} and lora_B {list(pair.b_OR.shape)}"
                "; expected one rank in both, and no whole tensor beside them"
            )
        changes[target] = pair
    return changes
