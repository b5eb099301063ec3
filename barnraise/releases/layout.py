"""Which files a release becomes in a folder, and what is in each of them, to the byte.

    DIR/
      model.safetensors            all tensors; above the limit of one file instead
      model-00001-of-00003.safetensors, ..., model.safetensors.index.json
      adapter_model.safetensors    in place of these for an adapter, beside adapter_config.json: where peft looks
      config.json, tokenizer.json  and what else the trunk brings: ``Manifest.files``
      README.md                    the model card
      acceptance.json              the report of the acceptance tests
      lineage.json                 where the release comes from and what changed
      run.json                     the resolved configuration of the run
      remerged.json                of a release without updates of its parent: how model and tests changed
      release.json                 the manifest, which names all of the above
      provenance/                  signed metadata that names the manifest: the proof, without a network
      installed.json               how pulling laid it out here

A file of tensors has exactly one content: its header follows from names, types and shapes. So
a reader who knows the layout parses no header, it compares with the one that has to be there.

Source: https://github.com/huggingface/safetensors#format; shards and their index as written by
https://huggingface.co/docs/transformers/big_models
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from barnraise.checkpoints.dtypes import FLOATS, ITEM_BYTES
from barnraise.checkpoints.folder import ADAPTER, ADAPTER_CONFIG, INDEX, SINGLE, TRAVELLING
from barnraise.digest import canonical_json
from barnraise.message import BlobRef
from barnraise.updates.space import TensorSpec

if TYPE_CHECKING:
    from barnraise.releases.derived.manifest import DerivedManifest
    from barnraise.releases.manifest import Manifest

__all__ = [
    "ACCEPTANCE_FILE",
    "ADAPTER_PREFIX",
    "CARD_FILE",
    "LINEAGE_FILE",
    "NOTE_FILE",
    "PROVENANCE",
    "RELEASE_FILE",
    "RUN_FILE",
    "SHARD_BYTES",
    "ModelFile",
    "cut_model",
    "index_file",
    "is_ours",
    "plan_model",
    "side_files",
    "stored_bytes",
    "stored_specs",
    "tensor_header",
]

CARD_FILE = "README.md"
ACCEPTANCE_FILE = "acceptance.json"
LINEAGE_FILE = "lineage.json"
RUN_FILE = "run.json"
REMERGED_FILE = "remerged.json"
RELEASE_FILE = "release.json"
NOTE_FILE = "installed.json"
PROVENANCE = "provenance"

ADAPTER_PREFIX = "base_model.model."
"""Before the names of all tensors of an adapter, as peft writes them, and of no model."""

SHARD_BYTES = 5_000_000_000
"""Tensors of one file take at most this, unless one alone takes more; what the ecosystem does too."""


_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors\Z")
_FIXED = frozenset(
    {
        *(CARD_FILE, ACCEPTANCE_FILE, LINEAGE_FILE, RUN_FILE, REMERGED_FILE, RELEASE_FILE, NOTE_FILE, PROVENANCE),
        *(SINGLE, INDEX, ADAPTER, ADAPTER_CONFIG),
    }
)


def is_ours(name: str) -> bool:
    """Whether some release has something of this name in its folder."""
    return name in _FIXED or name in TRAVELLING or _SHARD.match(name) is not None


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of tensors.

    Attributes:
        header: its first bytes: length, and padded JSON.
        tensors: in the order in which they lie behind the header.
    """

    name: str
    header: bytes
    tensors: tuple[TensorSpec, ...]

    @property
    def size_bytes(self) -> int:
        return len(self.header) + sum(stored_bytes(spec) for spec in self.tensors)


def stored_bytes(spec: TensorSpec) -> int:
    """Bytes of one tensor."""
    return spec.size * ITEM_BYTES[spec.dtype]


def stored_specs(specs: Iterable[TensorSpec], dtype: str | None) -> tuple[TensorSpec, ...]:
    """How tensors are stored when those of floating point are converted to ``dtype``; None converts nothing."""
    return tuple(
        TensorSpec(spec.name, spec.shape, dtype) if dtype is not None and spec.dtype in FLOATS else spec
        for spec in specs
    )


def plan_model(specs: Iterable[TensorSpec], shard_bytes: int = SHARD_BYTES) -> tuple[ModelFile, ...]:
    """The files of a model, each with a run of its tensors in the order of their names.

    Args:
        specs: as they are stored.
        shard_bytes: how much of tensors one file holds.
    """
    ordered = sorted(specs)
    if _is_adapter(ordered):
        return _named([ordered])  # which peft reads from one file only
    groups: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in ordered:
        size = stored_bytes(spec)
        if groups[-1] and filled + size > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(spec)
        filled += size
    return _named(groups)


def cut_model(specs: Iterable[TensorSpec], counts: Sequence[int]) -> tuple[ModelFile, ...]:
    """The files of a model that was cut so that each has so many tensors.

    Raises:
        ValueError: the model has more tensors than that, or fewer.
    """
    ordered = iter(sorted(specs))
    groups = [list(islice(ordered, count)) for count in counts]
    if [len(group) for group in groups] != list(counts) or next(ordered, None) is not None or not groups:
        raise ValueError(f"files with {', '.join(map(str, counts)) or 'no'} tensors are not the files of this model")
    return _named(groups)


def _named(groups: Sequence[Sequence[TensorSpec]]) -> tuple[ModelFile, ...]:
    count = len(groups)
    single = ADAPTER if _is_adapter(spec for group in groups for spec in group) else SINGLE
    names = [single] if count == 1 else [f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    return tuple(_model_file(name, group) for name, group in zip(names, groups, strict=True))


def _is_adapter(specs: Iterable[TensorSpec]) -> bool:
    return all(spec.name.startswith(ADAPTER_PREFIX) for spec in specs)


def _model_file(name: str, specs: Sequence[TensorSpec]) -> ModelFile:
    ordered = tuple(sorted(specs, key=lambda spec: (-ITEM_BYTES[spec.dtype], spec)))  # so that each lies aligned
    return ModelFile(name, tensor_header(ordered), ordered)


def tensor_header(tensors: Sequence[TensorSpec]) -> bytes:
    """Length and padded JSON before tensors that lie in this order. ``format: pt`` is what transformers looks for."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for spec in tensors:
        end = place + stored_bytes(spec)
        header[spec.name] = {"data_offsets": [place, end], "dtype": spec.dtype, "shape": list(spec.shape)}
        place = end
    text = canonical_json(header)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def index_file(files: Sequence[ModelFile]) -> Mapping[str, bytes]:
    """Which shard holds which tensor, as the one file that says so; nothing for a model in one file."""
    if len(files) == 1:
        return {}
    where = {spec.name: file.name for file in files for spec in file.tensors}
    total = sum(stored_bytes(spec) for file in files for spec in file.tensors)
    value = {"metadata": {"total_size": total}, "weight_map": where}
    return {INDEX: json.dumps(value, indent=2, sort_keys=True).encode("ascii") + b"\n"}


def side_files(manifest: Manifest | DerivedManifest) -> dict[str, BlobRef]:
    """File name -> blob of everything that the manifest names beside the tensors."""
    files = {file.name: file.blob for file in manifest.files}
    if manifest.kind == "derived-manifest":
        return {CARD_FILE: manifest.card, **files}
    if TYPE_CHECKING:
        assert isinstance(manifest, Manifest)
    return {
        CARD_FILE: manifest.card,
        ACCEPTANCE_FILE: manifest.acceptance,
        LINEAGE_FILE: manifest.lineage,
        RUN_FILE: manifest.config,
        **({REMERGED_FILE: manifest.remerged.report} if manifest.remerged is not None else {}),
        **files,
    }
