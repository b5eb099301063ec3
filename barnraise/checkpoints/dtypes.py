"""The element types of a safetensors file, and which of them can be merged.

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

__all__ = ["FLOATS", "ITEM_BYTES", "OUTPUT_NAMES"]

ITEM_BYTES: dict[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
    "C64": 8,
}
"""Bytes of one element."""

FLOATS = ("F32", "BF16", "F16")
"""What can be merged: float32 holds all their values exactly. Everything else is carried over."""

OUTPUT_NAMES: dict[str, str | None] = {"same": None, "f32": "F32", "bf16": "BF16", "f16": "F16"}
"""What a person calls a result's type; ``same`` keeps that of every tensor."""
