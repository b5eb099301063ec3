"""Tiny models of transformers, as configurations and as folders that its software would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from barnraise.model_config import CausalLMConfig
from merge.architectures.causal_lm import transformers_library

__all__ = ["GPT2", "LLAMA", "causal", "saved_model"]

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 256,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "vocab_size": 300,
    "n_positions": 64,
    "bos_token_id": None,
    "eos_token_id": None,
}


def causal(config: dict[str, Any] | None = None, **changes: Any) -> CausalLMConfig:
    """A section of a run's file; llama-like where nothing else is said."""
    return CausalLMConfig.model_validate(
        {"architecture": "causal-lm", "config": config or LLAMA, "context": 32, "init_seed": 3, **changes}
    )


def saved_model(folder: Path, config: dict[str, Any] | None = None, dtype: torch.dtype = torch.bfloat16) -> Path:
    """A checkpoint with a tokeniser of 300 tokens, trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<end>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the barn is raised by all who came to raise the barn"] * 4, trainer)
    library = transformers_library()
    stated = {**(config or LLAMA), "vocab_size": 300}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = library.AutoModelForCausalLM.from_config(library.AutoConfig.for_model(**stated), dtype=dtype)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"})
    )
    return folder
