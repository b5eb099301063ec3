"""Do models fit together: the same tensors in the same shapes, one architecture, one vocabulary.

Pure: looks at what headers and configurations say, and tells in a sentence what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from barnraise.checkpoints.header import StoredTensor

__all__ = ["config_differences", "tensor_differences"]

Tensors = Mapping[str, StoredTensor]

STRUCTURE = (
    "architectures",
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "tie_word_embeddings",
    "num_experts_per_tok",
)
"""What makes a model another one although no shape shows it."""

BEHAVIOUR = ("rope_theta", "rope_scaling", "rope_parameters", "rms_norm_eps", "layer_norm_eps", "sliding_window")
"""What may differ for a reason, and is worth a note."""

SHOWN = 3


def tensor_differences(reference: Tensors, other: Tensors) -> list[str]:
    """What ``other`` has not, has too much, or has in another shape; empty if it fits."""
    missing = sorted(set(reference) - set(other))
    extra = sorted(set(other) - set(reference))
    shapes = [
        f"{name!a} is {list(other[name].shape)}, expected {list(reference[name].shape)}"
        for name in sorted(set(reference) & set(other))
        if reference[name].shape != other[name].shape
    ]
    told = []
    if missing:
        told.append(f"lacks {_some([f'{name!a}' for name in missing])}")
    if extra:
        told.append(f"has {_some([f'{name!a}' for name in extra])} too many")
    if shapes:
        told.append(f"differs in shape: {_some(shapes)}")
    return told


def config_differences(
    reference: Mapping[str, Any] | None, other: Mapping[str, Any] | None
) -> tuple[list[str], list[str]]:
    """Keys of ``config.json`` that make two models different ones, and keys worth a note, each with both values.

    A model without a configuration is not compared, and nor is a key that one of the two leaves out.
    """
    if reference is None or other is None:
        return [], []
    return _differing(reference, other, STRUCTURE), _differing(reference, other, BEHAVIOUR)


def _differing(reference: Mapping[str, Any], other: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return [
        f"{key} is {str(other[key])[:64]}, expected {str(reference[key])[:64]}"
        for key in keys
        if key in reference and key in other and reference[key] != other[key]
    ]


def _some(told: Sequence[str]) -> str:
    shown = ", ".join(told[:SHOWN])
    return shown if len(told) <= SHOWN else f"{shown} and {len(told) - SHOWN} more ({len(told)} in all)"
