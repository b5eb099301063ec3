"""The tokeniser whose tokens are bytes, as files that other software reads.

Source: the printable characters that stand for bytes are those of GPT-2,
https://huggingface.co/docs/tokenizers/api/pre-tokenizers.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

__all__ = ["VOCABULARY", "byte_tokenizer_files"]

VOCABULARY = 256


def byte_tokenizer_files(context: int) -> dict[str, bytes]:
    """File name -> content, sorted by name.

    Args:
        context: tokens that the model sees at once.
    """
    files = {
        "tokenizer.json": _byte_tokenizer(),
        "tokenizer_config.json": {
            "clean_up_tokenization_spaces": False,
            "model_max_length": context,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    }
    return {name: json.dumps(value, indent=1, sort_keys=True).encode("ascii") + b"\n" for name, value in files.items()}


def _byte_tokenizer() -> dict[str, Any]:
    """One token a byte, its number the byte's value: byte-level pair encoding without any pairs."""
    bytewise = {"add_prefix_space": False, "trim_offsets": True, "type": "ByteLevel", "use_regex": False}
    return {
        "added_tokens": [],
        "decoder": bytewise,
        "model": {
            "byte_fallback": False,
            "continuing_subword_prefix": None,
            "dropout": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "merges": [],
            "type": "BPE",
            "unk_token": None,
            "vocab": _printable(),
        },
        "normalizer": None,
        "padding": None,
        "post_processor": None,
        "pre_tokenizer": bytewise,
        "truncation": None,
        "version": "1.0",
    }


def _printable() -> dict[str, int]:
    """The character that stands for each byte: itself if it can be seen, else the next free one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    free = count(0x100)
    return {chr(byte if byte in visible else next(free)): byte for byte in range(VOCABULARY)}
