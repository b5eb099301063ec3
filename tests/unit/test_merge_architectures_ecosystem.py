"""What a released trunk says of itself to other software: the names and shapes of Phi-3, one token a byte."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.model_config import ByteLMConfig
from merge.architectures import build, ecosystem_files, space_of

TINY = ByteLMConfig(dim=16, layers=2, heads=2, hidden=24, context=12)


def phi3_shapes(config: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The tensors of transformers' Phi3ForCausalLM with tied embeddings, from its configuration."""
    dim, hidden = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], dim),
        "model.norm.weight": (dim,),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (dim,),
            f"{layer}.mlp.down_proj.weight": (dim, hidden),
            f"{layer}.mlp.gate_up_proj.weight": (2 * hidden, dim),
            f"{layer}.post_attention_layernorm.weight": (dim,),
            f"{layer}.self_attn.o_proj.weight": (dim, dim),
            f"{layer}.self_attn.qkv_proj.weight": (3 * dim, dim),
        }
    return shapes


@settings(deadline=None, max_examples=10)
@given(heads=st.integers(1, 3), half=st.integers(1, 4), layers=st.integers(1, 3), hidden=st.integers(1, 40))
def test_the_tensors_are_those_that_the_configuration_describes(
    heads: int, half: int, layers: int, hidden: int
) -> None:
    model = ByteLMConfig(dim=2 * heads * half, heads=heads, layers=layers, hidden=hidden, context=4)
    config = json.loads(ecosystem_files(model)["config.json"])
    assert {t.name: t.shape for t in space_of(build(model)).tensors} == phi3_shapes(config)
    assert (config["num_attention_heads"], config["max_position_embeddings"]) == (heads, 4)


def test_what_decides_how_phi3_computes() -> None:
    config = json.loads(ecosystem_files(TINY)["config.json"])
    wanted = {
        "architectures": ["Phi3ForCausalLM"],
        "hidden_act": "silu",
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": 256,
    }
    assert wanted.items() <= config.items()
    assert [config[f"{special}_token_id"] for special in ("bos", "eos", "pad")] == [None] * 3


def test_every_byte_has_a_character_of_its_own() -> None:
    vocabulary = json.loads(ecosystem_files(TINY)["tokenizer.json"])["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(256))
    assert vocabulary["A"] == ord("A")
    assert vocabulary["\u0120"] == ord(" ")  # as in GPT-2's vocabulary
    assert vocabulary["\u010a"] == ord("\n")
    assert all(char.isprintable() for char in vocabulary)
