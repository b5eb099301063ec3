"""An installed release as values: what a program that uses the model begins with.

Tensors are read where they lie: numpy arrays are read-only views into the mapped files, torch
tensors share the mapped pages until somebody writes to them, and never change the files. torch
is imported when its tensors are asked for, and only then.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import FLOATS
from barnraise.errors import MissingExtraError, UsageError, VerificationError
from barnraise.model_config import ModelConfig
from barnraise.releases.convert import NAMES, Stored, narrow, widen
from barnraise.releases.derived.manifest import DerivedManifest
from barnraise.releases.installed import Installed
from barnraise.releases.model_files import Bytes
from barnraise.updates.space import ParameterSpace, TensorSpec

__all__ = ["Framework", "Model", "load", "load_model", "trunk_of"]

Framework = Literal["numpy", "torch"]
_TORCH_NAMES = {
    **{"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16", "BOOL": "bool", "C64": "complex64"},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{"U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64"},
    **{"F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu"},
}
_NUMPY_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?", "C64": "<c8"},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
"""What numpy can say; the 8-bit floats come as bytes."""


def load(folder: Path) -> tuple[ModelConfig, ParameterSpace, NDArray[np.float32]]:
    """Architecture, layout, and float32 [P] (read-only where it is mapped) of the release in ``folder``, verified.

    Raises:
        VerificationError: something is missing or altered.
        UsageError: it is a derived model, whose architecture the run does not know.
    """
    return trunk_of(Installed.read(folder))


def trunk_of(installed: Installed) -> tuple[ModelConfig, ParameterSpace, NDArray[np.float32]]:
    """As :func:`load`, of a release that was read and found whole.

    Raises:
        UsageError: it is a derived model, whose architecture the run does not know.
    """
    if isinstance(installed.manifest, DerivedManifest):
        name = installed.manifest.name
        raise UsageError(f"{installed.folder} holds {name}, a derived model; load it with its own program")
    return installed.manifest.model, installed.space, installed.flat()


@dataclass(frozen=True, repr=False)
class Model(Mapping[str, Any]):
    """The tensors of a release by name, sorted, each made when it is asked for.

    Attributes:
        name, version, model_digest: of the release.
        folder: where it lies.
        config: what ``config.json`` says; empty without one.
        architecture: of a trunk, as its run states it, for ``merge.architectures.build``; None of a derived model.
        framework: what the tensors are of. dtype: what floating point ones are converted to; None: as they are stored.
    """

    name: str
    version: str
    model_digest: str
    folder: Path
    config: Mapping[str, Any]
    architecture: ModelConfig | None
    framework: Framework
    dtype: Stored | None
    _specs: Mapping[str, TensorSpec]
    _tensors: Mapping[str, Bytes]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without making it."""
        return self._specs[name].shape

    def __getitem__(self, name: str) -> Any:
        """A numpy array or a torch tensor.

        Raises:
            KeyError: the model has no tensor of that name.
        """
        spec = self._specs[name]
        make = _torch_tensor if self.framework == "torch" else _numpy_array
        return make(self._tensors[name], spec.dtype, self.dtype).reshape(spec.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<{self.name} {self.version}: {len(self)} tensors in {self.folder}>"


def load_model(folder: Path, framework: Framework, dtype: str | None, *, verify: bool) -> Model:
    """The release in ``folder``.

    Args:
        dtype: ``f32``, ``bf16`` or ``f16``; None takes the tensors as they are stored.
        verify: whether to hash all tensors first; everything else is compared in any case.

    Raises:
        UsageError: no such framework or type, or numpy is to have bfloat16.
        MissingExtraError: torch is asked for and not installed.
        VerificationError: something is missing or altered.
    """
    wanted = _check_wishes(framework, dtype)
    installed = Installed.open(folder, writable=framework == "torch")
    if verify:
        installed.check()
    manifest = installed.manifest
    return Model(
        name=manifest.name,
        version=manifest.version,
        model_digest=manifest.model_digest,
        folder=folder,
        config=_config(installed),
        architecture=None if isinstance(manifest, DerivedManifest) else manifest.model,
        framework=framework,
        dtype=wanted,
        _specs={spec.name: spec for spec in sorted(spec for file in installed.files for spec in file.tensors)},
        _tensors=installed.tensors,
    )


def _check_wishes(framework: str, dtype: str | None) -> Stored | None:
    if framework not in ("numpy", "torch"):
        raise UsageError(f"no framework {framework!a} is known here; there are numpy and torch")
    if dtype is not None and dtype not in NAMES:
        raise UsageError(f"no type {dtype!a} is known here; there are {', '.join(NAMES)}")
    if framework == "numpy" and dtype == "bf16":
        raise UsageError("numpy has no bfloat16; ask for f32 or f16, or for framework='torch'")
    if framework == "torch" and importlib.util.find_spec("torch") is None:
        raise MissingExtraError("framework='torch' needs torch, which is not installed; numpy arrays need nothing more")
    return NAMES[dtype] if dtype is not None else None


def _config(installed: Installed) -> dict[str, Any]:
    data = installed.side("config.json")
    try:
        return dict(json.loads(data)) if data is not None else {}
    except (ValueError, TypeError, RecursionError) as error:
        raise VerificationError(f"{installed.folder / 'config.json'} is no JSON object; tell the operator") from error


def _numpy_array(data: Bytes, stored: str, wanted: Stored | None) -> NDArray[Any]:
    """numpy has no bfloat16: what is stored as such comes as float32, which has all of its values."""
    if stored not in FLOATS or (stored != "BF16" and wanted in (None, stored)):
        return data.view(_NUMPY_TYPES.get(stored, "u1"))
    values = widen(data, cast(Stored, stored))
    return values if wanted in (None, "F32") else narrow(values, wanted).view(np.float16)


def _torch_tensor(data: Bytes, stored: str, wanted: Stored | None) -> Any:
    torch = importlib.import_module("torch")
    tensor = torch.from_numpy(data).view(getattr(torch, _TORCH_NAMES[stored]))
    return tensor if wanted is None or stored not in FLOATS else tensor.to(getattr(torch, _TORCH_NAMES[wanted]))
