"""A stranger's configuration is measured before anything is built from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from barnraise.model_config import CausalLMConfig
from barnraise.modest import immodest

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "vocab_size": 128_256,
    "bos_token_id": 128_000,
    "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"},
    "attention_bias": False,
    "eos_token_id": [128_001, 128_009],
    "quantization_config": None,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)


def test_a_usual_configuration_is_taken() -> None:
    assert immodest(LLAMA) is None
    assert immodest({**LLAMA, "num_local_experts": 128}) is None
    assert CausalLMConfig(architecture="causal-lm", config=LLAMA).example_bytes == 256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": 3}, "must say its model_type"),
        ({"auto_map": {"AutoModelForCausalLM": "theirs.Model"}}, r"code of its own \(auto_map\)"),
        ({"text_config": {"auto_map": {"AutoConfig": "x.Y"}}}, r"code of its own \(text_config.auto_map\)"),
        ({"num_hidden_layers": 1_000_000}, "asks for 1,000,000 layers"),
        ({"n_layer": 2_000}, "asks for 2,000 layers"),
        ({"num_hidden_layers": 500, "num_local_experts": 500}, "500 layers of 500 experts"),
        ({"hidden_size": 1 << 40}, "hidden_size = 1,099,511,627,776"),
        ({"notes": "x" * 300_000}, "at most 262,144 are read"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, "nested deeper than 6 tables"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights"),
        ({"odd": object()}, "not JSON"),
    ],
)
def test_what_asks_for_too_much_or_for_code_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CausalLMConfig(architecture="causal-lm", config={**LLAMA, **change})


@settings(deadline=None)
@given(config=st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_any_json_is_judged(config: dict[str, Any]) -> None:
    found = immodest({**config, "model_type": "llama"})
    assert found is None or " " in found
    assert immodest({**config, "model_type": "llama", "auto_map": {"a": "b"}}) is not None


def test_a_tokeniser_of_another_form_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"must have a tokenizer\.json"):
        CausalLMConfig(architecture="causal-lm", config=LLAMA, files={"vocab.json": "b3:" + "0" * 64})
    with pytest.raises(ValidationError):
        CausalLMConfig(architecture="causal-lm", config=LLAMA, files={"../tokenizer.json": "b3:" + "0" * 64})
