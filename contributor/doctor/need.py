"""What a unit needs: memory, bytes to send, seconds. Estimates from a few numbers, on the careful side.

P  parameters of the model
B  examples trained at once
T  tokens (or bytes) of an example

Weights, gradients and AdamW's two moments are float32: 16 bytes a parameter where training happens. The base, what
training changed, the residual and the kept moments lie in the machine's memory: 20 bytes a parameter.

Sources: activations of a transformer, without recomputing: Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198
(34 bytes for each element of a layer's input in 16 bits, 68 in 32; attention keeps no scores where it is fused).
Arithmetic: 6 P operations a token, Kaplan et al. 2020, https://arxiv.org/abs/2001.08361. Size of an update: entropy of
the support plus two bits an entry, docs/adr/0008-golomb-coded-support.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from barnraise.model_config import ByteLMConfig, CausalLMConfig, ModelConfig
from barnraise.update_config import CodecConfig

__all__ = ["Need", "Shape", "activations_bytes", "shape_of", "unit_seconds", "update_bytes", "what_it_needs"]

TRAINING_BYTES, HELD_BYTES = 16, 20
LIBRARY_BYTES = 600 << 20
"""PyTorch itself, its threads and kernels, before any model is built; measured as 0.3 to 0.6 GiB on Linux."""
LAYER_BYTES = 68
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """A transformer's, as far as memory depends on it. ``words``: answers that it chooses from."""

    layers: int
    width: int
    tokens: int
    words: int


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes.

    Attributes:
        device_least: where training happens, with one example at once. device_whole: with the whole batch.
        machine: beside that, in the machine's own memory. update: to be sent.
    """

    device_least: int
    device_whole: int
    machine: int
    update: int


def shape_of(model: ModelConfig) -> Shape | None:
    """The shape of a transformer; None for other architectures."""
    if isinstance(model, ByteLMConfig):
        return Shape(model.layers, model.dim, model.context, 256)
    if isinstance(model, CausalLMConfig):
        said = {key: model.config.get(key) for key in _NAMES}
        layers = next((said[key] for key in ("num_hidden_layers", "n_layer") if isinstance(said[key], int)), None)
        width = next((said[key] for key in ("hidden_size", "n_embd") if isinstance(said[key], int)), None)
        words = said["vocab_size"]
        if isinstance(layers, int) and isinstance(width, int) and isinstance(words, int):
            return Shape(layers, width, model.context, words)
    return None


_NAMES = ("num_hidden_layers", "n_layer", "hidden_size", "n_embd", "vocab_size")


def activations_bytes(shape: Shape, examples: int) -> int:
    """What the forward pass leaves for the backward pass, float32, and the logits with their gradient."""
    tokens = examples * shape.tokens
    return tokens * (shape.layers * shape.width * LAYER_BYTES + shape.words * 12)


def update_bytes(parameters: int, codec: CodecConfig, turns: int | None = None) -> int:
    """How large an update will be, about; ``turns``: it says one of so many elements."""
    if turns is not None:
        parameters = math.ceil(parameters / turns)
    if codec.name == "dense":
        return 4 * parameters
    if codec.name == "blockwise":
        return math.ceil(parameters * (codec.bits / 8 + 4 / CHUNK))
    share = codec.k / CHUNK
    support_bits = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    return math.ceil(parameters * ((support_bits + 2 * share) / 8 + 8 / CHUNK))


def what_it_needs(
    parameters: int, shape: Shape | None, batch: int, codec: CodecConfig, turns: int | None = None
) -> Need:
    """What a unit of a run needs on one machine.

    Args:
        shape: None counts no activations, as for models whose inputs are small.
        batch: examples of one step. turns: an update says one of so many elements; None for all.
    """
    model = TRAINING_BYTES * parameters
    return Need(
        device_least=model + (activations_bytes(shape, 1) if shape else 0),
        device_whole=model + (activations_bytes(shape, batch) if shape else 0),
        machine=HELD_BYTES * parameters + LIBRARY_BYTES,
        update=update_bytes(parameters, codec, turns),
    )


def unit_seconds(parameters: int, tokens: int, operations_per_s: float) -> float:
    """How long the arithmetic of a unit takes.

    Args:
        tokens: of the whole unit: steps times batch times tokens of an example.
        operations_per_s: that this machine does in training, as measured.
    """
    return 6.0 * parameters * tokens / operations_per_s
