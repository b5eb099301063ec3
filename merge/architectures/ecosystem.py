"""Files beside a byte model's tensors from which other software knows what it is: configuration and tokenizer.

A released folder then loads with ``AutoModelForCausalLM.from_pretrained`` and
``AutoTokenizer.from_pretrained``, without a line of ours. All content follows from the
architecture alone, so every release of a run has the same files, stored once.

Source: https://huggingface.co/docs/transformers/model_doc/phi3; the printable characters that
stand for bytes are those of GPT-2, https://huggingface.co/docs/tokenizers/api/pre-tokenizers.
"""

from __future__ import annotations

import json
from typing import Any

from barnraise.model_config import ByteLMConfig
from merge.architectures.byte_lm import NORM_EPS, ROPE_BASE, VOCABULARY

__all__ = ["ecosystem_files"]


def ecosystem_files(model: ByteLMConfig) -> dict[str, bytes]:
    """File name -> content, sorted by name."""
    files = {
        "config.json": _phi3(model),
        "tokenizer.json": _byte_tokenizer(),
        "tokenizer_config.json": {
            "clean_up_tokenization_spaces": False,
            "model_max_length": model.context,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    }
    return {name: json.dumps(value, indent=1, sort_keys=True).encode("ascii") + b"\n" for name, value in files.items()}


def _phi3(model: ByteLMConfig) -> dict[str, Any]:
    """Phi-3's own defaults name tokens beyond a vocabulary of bytes, so the special ones are said to be none.

    No type of the weights is named: it is that of the tensors, which pulling may have converted.
    """
    return {
        "architectures": ["Phi3ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "embd_pdrop": 0.0,
        "eos_token_id": None,
        "hidden_act": "silu",
        "hidden_size": model.dim,
        "intermediate_size": model.hidden,
        "max_position_embeddings": model.context,
        "model_type": "phi3",
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.heads,
        "original_max_position_embeddings": model.context,
        "pad_token_id": None,
        "resid_pdrop": 0.0,
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_BASE,
        "tie_word_embeddings": True,
        "vocab_size": VOCABULARY,
    }


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
            "vocab": {_printable(byte): byte for byte in range(VOCABULARY)},
        },
        "normalizer": None,
        "padding": None,
        "post_processor": None,
        "pre_tokenizer": bytewise,
        "truncation": None,
        "version": "1.0",
    }


def _printable(byte: int) -> str:
    """The character that stands for a byte: itself if it can be seen, else the next free one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    if byte in visible:
        return chr(byte)
    return chr(0x100 + [other for other in range(VOCABULARY) if other not in visible].index(byte))
