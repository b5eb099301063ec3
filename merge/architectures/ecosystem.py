"""Files beside a byte model's tensors from which other software knows what it is: configuration and tokenizer.

A released folder then loads with ``AutoModelForCausalLM.from_pretrained`` and
``AutoTokenizer.from_pretrained``, without a line of ours. All content follows from the
architecture alone, so every release of a run has the same files, stored once.

Source: https://huggingface.co/docs/transformers/model_doc/phi3.
"""

from __future__ import annotations

import json
from typing import Any

from barnraise.model_config import ByteLMConfig
from merge.architectures.byte_lm import NORM_EPS, ROPE_BASE, VOCABULARY
from merge.architectures.byte_tokenizer import byte_tokenizer_files

__all__ = ["ecosystem_files"]


def ecosystem_files(model: ByteLMConfig) -> dict[str, bytes]:
    """File name -> content, sorted by name."""
    config = json.dumps(_phi3(model), indent=1, sort_keys=True).encode("ascii") + b"\n"
    return {"config.json": config, **byte_tokenizer_files(model.context)}


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
