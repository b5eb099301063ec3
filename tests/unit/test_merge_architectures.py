"""The trunk: causal, deterministic, and the same thing as its flat vector."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.model_config import ByteLMConfig
from merge.architectures import build, flat_of, generate, load_flat, parameter_count, space_of

TINY = ByteLMConfig(dim=16, layers=2, heads=2, hidden=24, context=12, init_seed=3)


def test_a_seed_names_the_same_weights_everywhere() -> None:
    module = build(TINY)
    flat_P = flat_of(module, space_of(module))
    assert digest_bytes(flat_P.astype("<f4").tobytes()) == (
        "b3:aeba7afa41b1657694bb4c0760f2a06e549bc45f582a3c1c8fa43f95cd0e35c4"
    )


def test_another_seed_gives_other_weights() -> None:
    one, other = build(TINY), build(TINY.model_copy(update={"init_seed": 4}))
    assert not np.array_equal(flat_of(one, space_of(one)), flat_of(other, space_of(other)))


def test_rotary_tables_are_no_part_of_the_model() -> None:
    assert {t.name for t in space_of(build(TINY)).tensors} == set(build(TINY).state_dict())


@settings(deadline=None, max_examples=15)
@given(heads=st.integers(1, 3), half=st.integers(1, 4), layers=st.integers(1, 3), hidden=st.integers(1, 40))
def test_parameters_are_counted_without_building(heads: int, half: int, layers: int, hidden: int) -> None:
    config = ByteLMConfig(dim=2 * heads * half, heads=heads, layers=layers, hidden=hidden, context=4)
    assert parameter_count(config) == space_of(build(config)).size


def test_the_flat_vector_round_trips() -> None:
    module = build(TINY)
    space = space_of(module)
    wanted_P = np.random.default_rng(0).standard_normal(space.size, dtype=np.float32)
    wanted_P.flags.writeable = False
    load_flat(module, space, wanted_P)
    assert np.array_equal(flat_of(module, space), wanted_P)


def test_a_vector_of_another_space_is_refused() -> None:
    module = build(TINY)
    other = space_of(build(TINY.model_copy(update={"layers": 1})))
    with pytest.raises(ValueError, match="tensors of this space"):
        load_flat(module, other, np.zeros(other.size, dtype=np.float32))
    with pytest.raises(ValueError, match="tensors of this space"):
        flat_of(module, other)


def test_no_position_sees_the_future() -> None:
    module = build(TINY).eval()
    tokens_BT = torch.arange(12)[None]
    changed_BT = tokens_BT.clone()
    changed_BT[0, 7] = 200
    with torch.no_grad():
        before, after = module(tokens_BT), module(changed_BT)
    assert torch.equal(before[0, :7], after[0, :7])
    assert not torch.equal(before[0, 7:], after[0, 7:])


def test_positions_matter() -> None:
    module = build(TINY).eval()
    with torch.no_grad():
        logits = module(torch.tensor([[1, 2, 9], [2, 1, 9]]))
    assert not torch.allclose(logits[0, 2], logits[1, 2], atol=1e-7)


def test_an_untrained_model_knows_nothing() -> None:
    module = build(TINY)
    windows = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 13), dtype=np.uint8))
    assert float(module.loss(windows).detach()) / math.log(2) == pytest.approx(8.0, abs=0.05)


def test_the_loss_is_the_mean_over_the_forward_pass() -> None:
    module = build(TINY)
    windows = torch.arange(26).reshape(2, 13)
    with torch.no_grad():
        log_BTV = torch.log_softmax(module(windows[:, :-1]), dim=-1)
        by_hand = -log_BTV.gather(-1, windows[:, 1:, None]).mean()
        assert float(module.loss(windows)) == pytest.approx(float(by_hand), rel=1e-5)


def test_it_learns_a_line_by_heart() -> None:
    torch.manual_seed(0)
    module = build(TINY.model_copy(update={"context": 16}))
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2)
    window = torch.tensor([list(b"import typing\nim")])
    for _ in range(60):
        optimiser.zero_grad()
        module.loss(window).backward()
        optimiser.step()
    assert generate(module, b"import ", 6, seed=0, temperature=0.0) == b"typing"


def test_a_seed_writes_the_same_text() -> None:
    module = build(TINY)
    assert generate(module, b"def ", 20, seed=5, temperature=1.0) == generate(
        module, b"def ", 20, seed=5, temperature=1.0
    )
    assert generate(module, b"def ", 20, seed=5, temperature=1.0) != generate(
        module, b"def ", 20, seed=6, temperature=1.0
    )
    assert len(generate(module, b"", 3, seed=0, temperature=1.0)) == 3
    assert generate(module, b"x", 0, seed=0, temperature=1.0) == b""
