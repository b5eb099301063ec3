"""Factors that an update holds, as an adapter in a folder that peft loads on the update's base.

    adapter_config.json           rank, alpha and the layers, by name
    adapter_model.safetensors     base_model.model.LAYER.lora_A.weight and its like, float32

What a layer that holds its matrix transposed calls A is our b, the other way round. A matrix that two layers share has
its factors in both.

R, C  rows and columns of a matrix
K  components

Source: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from barnraise.checkpoints.folder import ADAPTER, ADAPTER_CONFIG
from barnraise.checkpoints.install import staged
from barnraise.errors import UsageError
from barnraise.releases.layout import ADAPTER_PREFIX, tensor_header
from barnraise.updates import Update
from barnraise.updates.factors import Factors
from barnraise.updates.space import TensorSpec
from contributor.training.adapters import kind_of, layer_of
from contributor.training.parametrised import uses_of

__all__ = ["AdapterFiles", "adapter_of"]

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class AdapterFiles:
    """What is in the folder: peft's configuration, and tensors by their names in the file."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Matrix]

    def write(self, folder: Path) -> int:
        """Write both files, or nothing; the bytes of them.

        Raises:
            UsageError: there is something of that name already.
            FolderLockedError: somebody else writes it at this moment.
            DiskFullError: no space left.
        """
        if folder.exists():
            raise UsageError(f"{folder} is there already; name a folder that is to be made")
        specs = [TensorSpec(name, tuple(one.shape)) for name, one in sorted(self.tensors.items())]
        weights = tensor_header(specs) + b"".join(self.tensors[spec.name].astype("<f4").tobytes() for spec in specs)
        config = json.dumps(self.config, indent=2, sort_keys=True).encode("ascii") + b"\n"
        with staged(folder) as staging:
            (staging / ADAPTER).write_bytes(weights)
            (staging / ADAPTER_CONFIG).write_bytes(config)
        return len(weights) + len(config)


def adapter_of(module: nn.Module, update: Update) -> AdapterFiles:
    """An update's factors as an adapter of a module.

    Args:
        module: of transformers, the update's base; on the meta device will do, for nothing of its values is read.

    Raises:
        UsageError: the update holds no factors, or changes what peft cannot adapt.
    """
    factors = update.carrier
    if not isinstance(factors, Factors):
        raise UsageError("the update holds no low-rank factors; only those of a run with update.lora are an adapter")
    carried = factors.space.unflatten(update.reading(0, factors.space.size))
    uses, parameters = uses_of(module), dict(module.named_parameters())
    tensors: dict[str, Matrix] = {}
    fewer: dict[str, int] = {}
    layers = []
    for spec in factors.target.tensors:
        rank = min(factors.rank, *spec.shape)
        for use in uses[parameters[spec.name]]:
            layer = layer_of(module, [use])
            if layer is None:
                raise UsageError(f"peft has no layer for {spec.name!a}; test the update as a whole: barnraise test")
            layers.append(layer)
            tensors |= _named(use[0], layer, carried[f"{spec.name}/a"], carried[f"{spec.name}/b"])
            fewer |= {layer: rank} if rank < factors.rank else {}
    transposed = any(kind_of(module.get_submodule(layer)) not in (nn.Linear, nn.Embedding) for layer in layers)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "target_modules": sorted(layers),
        "r": factors.rank,
        "lora_alpha": factors.rank,  # a scale of 1, for the update's own is part of b
        "rank_pattern": fewer,
        "alpha_pattern": fewer,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": True,
    }
    return AdapterFiles(config, tensors)


def _named(owner: nn.Module, layer: str, a_KC: Matrix, b_RK: Matrix) -> dict[str, Matrix]:
    """The factors of one layer as peft names and turns them."""
    kind, name = kind_of(owner), f"{ADAPTER_PREFIX}{layer}"
    if kind is nn.Linear:
        return {f"{name}.lora_A.weight": a_KC, f"{name}.lora_B.weight": b_RK}
    ends = ("lora_embedding_A", "lora_embedding_B") if kind is nn.Embedding else ("lora_A.weight", "lora_B.weight")
    return {f"{name}.{end}": np.ascontiguousarray(one.T) for end, one in zip(ends, (b_RK, a_KC), strict=True)}
