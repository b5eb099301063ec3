"""Factors in the layers of a transformers model, as peft puts them there.

peft replaces a layer by one of its own around it, which adds ``scale * b @ a @ input`` to what the layer gives. So no
gradient and no copy of a whole matrix is ever there, as the parametrisation of a parameter would have them
(:mod:`contributor.training.parametrised`). It adapts layers, and not every matrix is one's alone: which it can have is
decided here, by :func:`layer_of`. It gets a model that is built and loaded, is told names of layers and numbers, and
looks at no hub.

Source: https://huggingface.co/docs/peft/package_reference/lora
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, cast

from torch import nn

from barnraise.errors import ConfigValueError
from barnraise.libraries import library
from contributor.training.parametrised import Pair, Use

__all__ = ["adapt", "is_of_transformers", "kind_of", "layer_of", "peft_library"]

ADAPTER = "default"  # peft's own name for the only one


def is_of_transformers(module: nn.Module) -> bool:
    """Whether transformers made a module. It is not imported for the answer: who has a module of it has it already."""
    known = sys.modules.get("transformers.modeling_utils")
    return known is not None and isinstance(module, known.PreTrainedModel)


def peft_library() -> ModuleType:
    """The library, imported when factors are trained in a model of transformers: that takes seconds.

    Raises:
        MissingExtraError: it is not installed.
    """
    why = "this run trains low-rank factors of a model of transformers, which peft does, and peft is not installed."
    return library("peft", "transformers", why)


def layer_of(module: nn.Module, uses: Sequence[Use]) -> str | None:
    """The name of the layer through which peft can adapt a matrix; None where it cannot, or not all of its uses.

    The matrix must be the weight of one layer alone, not of two as embedding and head often share one; the layer must
    compute what its kind computes, and nobody may read the matrix without it, as fused kernels of state-space models
    do: peft's factors would be left out there without a word.

    Args:
        uses: of the matrix, all of them within ``module``.
    """
    (owner, attribute), *others = uses
    names = [name for name, one in module.named_modules(remove_duplicate=False) if one is owner]
    if others or attribute != "weight" or kind_of(owner) is None or len(names) != 1 or not names[0]:
        return None
    parent, _, child = names[0].rpartition(".")
    code = _code_of(cast(Hashable, type(module.get_submodule(parent))))
    return None if code is None or f".{child}.weight" in code else names[0]


def adapt(module: nn.Module, layers: Mapping[str, str], ranks: Mapping[str, int], scale: float) -> dict[str, Pair]:
    """Have peft put factors into layers, and freeze everything else. It draws them with torch's generator of the CPU.

    Args:
        module: of transformers.
        layers: by name of the matrix, the layer that :func:`layer_of` found.
        ranks: of each of them.

    Raises:
        ConfigValueError: peft refuses one of these layers.
        MissingExtraError: it is not installed.
    """
    peft = peft_library()
    most = max(ranks[name] for name in layers)
    fewer = {f"^{re.escape(layer)}": ranks[name] for name, layer in layers.items() if ranks[name] < most}
    config = peft.LoraConfig(
        target_modules="|".join(re.escape(layer) for layer in layers.values()),  # exactly these
        r=most,
        lora_alpha=scale * most,
        rank_pattern=fewer,
        alpha_pattern={layer: scale * rank for layer, rank in fewer.items()},
        lora_dropout=0.0,
        bias="none",
    )
    try:
        with warnings.catch_warnings():
            # GPT-2 holds its matrices transposed; peft sees that by itself, layer by layer, and says so each time.
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
            peft.inject_adapter_in_model(config, module, ADAPTER)
    except ValueError as error:
        raise ConfigValueError(
            f"peft {peft.__version__} cannot train factors of this model: {str(error)[:300]} "
            "The operator can name other tensors in update.train"
        ) from error
    adapted = {name for name, one in module.named_modules() if isinstance(one, peft.tuners.lora.LoraLayer)}
    assert adapted == set(layers.values()), sorted(adapted ^ set(layers.values()))
    return {name: _pair(module.get_submodule(layer)) for name, layer in layers.items()}


def _pair(layer: Any) -> Pair:
    """The factors of an adapted layer."""
    scale = float(layer.scaling[ADAPTER])
    if ADAPTER in layer.lora_embedding_A:
        return Pair(layer.lora_embedding_B[ADAPTER], layer.lora_embedding_A[ADAPTER], scale, turned=True)
    first, second = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    if kind_of(layer.get_base_layer()) is nn.Linear:
        return Pair(first, second, scale)
    return Pair(second, first, scale, turned=True)


def kind_of(layer: nn.Module) -> type[nn.Module] | None:
    """Which layer of those that peft adapts this is, computing as all of that kind do."""
    conv1d = importlib.import_module("transformers.pytorch_utils").Conv1D  # GPT-2's linear layer
    for kind in (nn.Linear, nn.Embedding, conv1d):
        if isinstance(layer, kind) and type(layer).forward is kind.forward:
            return kind
    return None


@cache
def _code_of(one: Any) -> str | None:
    """The source of a class, as it is installed; None where there is none to look at."""
    try:
        return inspect.getsource(one)
    except (OSError, TypeError):
        return None
