"""A causal language model of transformers, from its configuration alone.

No code but that of the installed transformers is run: the configuration names one of its classes,
and what could name anything else (remote code, kernels of a hub, quantisers) is refused or left
out. Dropout is set to nothing, so that a unit which is continued sees what it would have seen.

Initial weights come from NumPy's PCG64, so a seed names the same first release on every machine:
a tensor to which the class gives one value everywhere (gains, biases) keeps it, any other is drawn
uniformly with the standard deviation that the configuration names.

Source: https://huggingface.co/docs/transformers/main_classes/model
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import nn

from barnraise.errors import ConfigValueError
from barnraise.libraries import library
from barnraise.model_config import CausalLMConfig
from merge.architectures.byte_tokenizer import VOCABULARY, byte_tokenizer_files

__all__ = ["CausalLMArchitecture", "transformers_library"]

INIT_STD = 0.02
LEFT_OUT = frozenset(
    {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_kernels", "attn_implementation"}
)
"""Of a configuration, what says how a program loads it and not what the model is."""


def transformers_library() -> Any:
    """The library, imported when it is needed, which takes seconds.

    Raises:
        MissingExtraError: it is not installed.
    """
    found = library("transformers", "transformers", "a causal-lm is a model of transformers, which is not installed.")
    found.logging.set_verbosity_error()  # its advice is about options that are not the caller's
    return found


@dataclass(frozen=True, slots=True)
class CausalLMArchitecture:
    """Builds a causal language model of transformers."""

    name: ClassVar[str] = "causal-lm"
    model: CausalLMConfig

    def build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            module = self._made(torch.device("cpu"))
        _initialise(module, self.model.init_seed, self._config().get("initializer_range"))
        return module

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.outline().parameters())

    def outline(self) -> nn.Module:
        """The module without memory for its parameters, which are on torch's meta device."""
        return self._made(torch.device("meta"))

    def files(self) -> dict[str, bytes]:
        stated = self._config()
        made = self.outline()
        stated["architectures"] = [type(made).__name__]
        files = {"config.json": json.dumps(stated, indent=1, sort_keys=True).encode("utf-8") + b"\n"}
        if not self.model.files:
            files |= byte_tokenizer_files(self.model.context)
        return files

    def _config(self) -> dict[str, Any]:
        return _kept(self.model.config)

    def _made(self, device: torch.device) -> nn.Module:
        """The module on a device; on ``meta`` nothing is allocated.

        Raises:
            ConfigValueError: transformers cannot make one.
            MissingExtraError: it is not installed.
        """
        hf = transformers_library()
        stated = self._config()
        model_type = stated.pop("model_type")
        if model_type not in hf.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise ConfigValueError(
                f"model.config.model_type {model_type!a} is no causal language model that transformers "
                f"{hf.__version__} knows; install a newer one (pip install -U transformers), or begin from another"
            )
        try:
            config = hf.AutoConfig.for_model(model_type, **stated)
            _without_dropout(config)
            with device:
                module = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
        except Exception as error:  # a library of this size raises anything over a configuration it cannot build
            raise ConfigValueError(
                f"model.config cannot be built by transformers {hf.__version__}: {type(error).__name__}: "
                f"{_first_line(error)}. It must be the config.json of a causal language model"
            ) from error
        _require_only_parameters(module)
        if not self.model.files and module.get_input_embeddings().num_embeddings < VOCABULARY:
            raise ConfigValueError(
                f"model.config has a vocabulary of {module.get_input_embeddings().num_embeddings}, without a tokeniser "
                f"every byte is a token: {VOCABULARY} are needed. Begin from a folder with a tokenizer.json"
            )
        return cast(nn.Module, module)


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """What says what the model is, tables inside it too."""
    return {
        name: _kept(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in LEFT_OUT and not name.startswith("_")
    }


def _without_dropout(config: Any) -> None:
    """Set every rate of dropout to 0, in the configurations of parts as well."""
    for name, value in vars(config).items():
        if hasattr(value, "model_type"):
            _without_dropout(value)
        elif ("drop" in name or name.endswith("_pdrop")) and isinstance(value, float):
            setattr(config, name, 0.0)


def _require_only_parameters(module: nn.Module) -> None:
    """Refuse state that is no parameter: it would not be in a release."""
    tensors = {id(parameter) for parameter in module.parameters()}
    others = [name for name, value in module.state_dict(keep_vars=True).items() if id(value) not in tensors]
    if others:
        raise ConfigValueError(
            f"the model keeps {len(others)} tensors that are not trained ({', '.join(others[:3])}), which no release "
            "would hold; such a model cannot be a trunk"
        )


@torch.no_grad()
def _initialise(module: nn.Module, seed: int, std: Any) -> None:
    """Draw every tensor that is not of one value, in the order of their names."""
    bits = np.random.default_rng(np.random.PCG64(seed))
    wide = (float(std) if isinstance(std, float) and 0 < std < 1 else INIT_STD) * math.sqrt(12.0)
    for _, parameter in sorted(module.named_parameters()):
        if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
            continue
        uniform = bits.random(tuple(parameter.shape), dtype=np.float32) - np.float32(0.5)
        parameter.copy_(torch.from_numpy(uniform * np.float32(wide)))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")[:300]
