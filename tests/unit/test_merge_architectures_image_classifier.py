"""The picture classifier: deterministic, counted without building, and blind to how a picture's bytes are shaped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from barnraise.digest import digest_bytes
from barnraise.model_config import ImageClassifierConfig
from merge.architectures import Answering, architecture_of, build, ecosystem_files, flat_of, parameter_count, space_of

TINY = ImageClassifierConfig(architecture="image-classifier", size=4, width=3, blocks=2, classes=5, init_seed=3)


def test_a_seed_names_the_same_weights_everywhere() -> None:
    module = build(TINY)
    flat_P = flat_of(module, space_of(module))
    wanted = "b3:1c84b755924dcf4c94ee175195b6cc136d774ead07ab9ac6576e7271e911e6bf"
    assert digest_bytes(flat_P.astype("<f4").tobytes()) == wanted
    other = build(TINY.model_copy(update={"init_seed": 4}))
    assert not np.array_equal(flat_of(other, space_of(other)), flat_P)


@settings(deadline=None, max_examples=15)
@given(
    blocks=st.integers(1, 3),
    edge=st.integers(1, 2),
    channels=st.integers(1, 3),
    width=st.integers(1, 5),
    classes=st.integers(2, 6),
)
def test_parameters_are_counted_without_building(
    blocks: int, edge: int, channels: int, width: int, classes: int
) -> None:
    config = ImageClassifierConfig(
        architecture="image-classifier",
        size=edge << blocks,
        channels=channels,
        width=width,
        blocks=blocks,
        classes=classes,
    )
    module = build(config)
    assert parameter_count(config) == space_of(module).size
    assert {spec.name for spec in space_of(module).tensors} == set(module.state_dict())  # nothing else is state
    pictures = torch.zeros(2, config.example_bytes - 1, dtype=torch.uint8)
    assert module(pictures).shape == (2, classes)


def test_a_picture_is_the_same_in_any_shape_and_type() -> None:
    module = build(TINY).eval()
    flat = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 16), dtype=np.uint8))
    wanted = module(flat)
    assert torch.equal(module(flat.reshape(3, 4, 4)), wanted)
    assert torch.equal(module(flat.reshape(3, 4, 4, 1).float()), wanted)
    assert torch.equal(module(flat[:1]), wanted[:1]) or torch.allclose(module(flat[:1]), wanted[:1], atol=1e-6)


def test_channels_of_a_pixel_lie_side_by_side() -> None:
    colours = TINY.model_copy(update={"channels": 2})
    module = build(colours)
    with torch.no_grad():
        module.blocks[0].convolution.weight[:, 1] = 0.0  # blind to the second channel
    seen = torch.zeros(1, 4, 4, 2)
    seen[..., 1] = 255.0
    assert torch.equal(module(seen), module(torch.zeros(1, 4, 4, 2)))
    seen[..., 0] = 255.0
    assert not torch.equal(module(seen), module(torch.zeros(1, 4, 4, 2)))


def test_an_example_is_split_into_picture_and_answer() -> None:
    architecture = architecture_of(TINY)
    assert isinstance(architecture, Answering)
    examples = torch.arange(34, dtype=torch.uint8).reshape(2, 17)
    inputs, wanted = architecture.split(examples)
    assert inputs.shape == (2, 16)
    assert wanted.tolist() == [16, 33]


def test_what_other_software_reads_beside_the_tensors() -> None:
    ((name, content),) = ecosystem_files(TINY).items()
    assert name == "config.json"
    assert json.loads(content)["pixels"] == {"from": 0, "shape": [4, 4, 1], "to": 255}


@pytest.mark.parametrize("change", [{"size": 6}, {"classes": 1}, {"classes": 300}, {"levels": 0}, {"blocks": 9}])
def test_what_cannot_be_built_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        ImageClassifierConfig.model_validate({**TINY.model_dump(), **change})
