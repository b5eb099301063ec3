"""The files of a model: complete, bounded, and what the safetensors library and transformers read."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load

from barnraise.checkpoints import Checkpoint
from barnraise.releases.keyframe import keyframe_header
from barnraise.releases.layout import (
    cut_model,
    index_file,
    is_ours,
    plan_model,
    stored_bytes,
    stored_specs,
    tensor_header,
)
from barnraise.releases.model_files import map_files, tensors_in, write_model
from barnraise.updates import ParameterSpace, TensorSpec
from published import SPACE

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=12)
DTYPES = st.sampled_from(["F32", "BF16", "I64", "U8"])


def specs_of(sizes: list[int], dtype: str = "F32") -> list[TensorSpec]:
    return [TensorSpec(f"t{number:02d}", (size,), dtype) for number, size in enumerate(sizes)]


@settings(deadline=None, max_examples=100)
@given(sizes=SIZES, limit=st.integers(1, 2000))
def test_every_tensor_is_in_one_file_and_files_are_bounded(sizes: list[int], limit: int) -> None:
    specs = specs_of(sizes)
    files = plan_model(specs, limit)
    assert sorted(spec for file in files for spec in file.tensors) == specs
    for file in files:
        assert len(file.tensors) == 1 or sum(map(stored_bytes, file.tensors)) <= limit
        assert file.header == tensor_header(file.tensors)
        assert len(file.header) % 8 == 0
    for one, following in pairwise(files):  # none could have been joined
        assert sum(map(stored_bytes, one.tensors)) + stored_bytes(following.tensors[0]) > limit


@settings(deadline=None, max_examples=50)
@given(sizes=SIZES, limit=st.integers(1, 2000))
def test_cutting_where_it_was_cut_gives_the_same_files(sizes: list[int], limit: int) -> None:
    files = plan_model(specs_of(sizes), limit)
    counts = [len(file.tensors) for file in files]
    assert cut_model(specs_of(sizes), counts) == files
    for wrong in ([*counts, 1], counts[:-1], [counts[0] + 1, *counts[1:]], []):
        with pytest.raises(ValueError, match="are not the files of this model"):
            cut_model(specs_of(sizes), wrong)


def test_names_are_those_of_the_ecosystem() -> None:
    assert [file.name for file in plan_model(specs_of([1]))] == ["model.safetensors"]
    files = plan_model(specs_of([10, 10, 10]), 40)
    assert [file.name for file in files] == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = json.loads(index_file(files)["model.safetensors.index.json"])
    assert index["metadata"] == {"total_size": 120}
    assert index["weight_map"] == {f"t0{n}": f"model-0000{n + 1}-of-00003.safetensors" for n in range(3)}
    assert index_file(plan_model(specs_of([10]))) == {}
    for ours in (*(file.name for file in files), "README.md", "tokenizer.json", "provenance"):
        assert is_ours(ours)
    for foreign in ("model-1-of-2.safetensors", "model-00001-of-00002.safetensors.bak", "run.py", "notes.txt", ""):
        assert not is_ours(foreign)


def test_one_file_of_float32_is_the_keyframe() -> None:
    (file,) = plan_model(SPACE.tensors)
    assert file.header == keyframe_header(SPACE)
    assert file.tensors == SPACE.tensors


def test_only_floating_point_is_converted() -> None:
    specs = [TensorSpec("a", (2,), "F32"), TensorSpec("b", (2,), "I64"), TensorSpec("c", (2,), "F16")]
    assert [spec.dtype for spec in stored_specs(specs, "BF16")] == ["BF16", "I64", "BF16"]
    assert stored_specs(specs, None) == tuple(specs)


@settings(deadline=None, max_examples=40)
@given(shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), DTYPES), min_size=1, max_size=8), data=st.data())
def test_other_readers_see_the_same_tensors(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    """Mixed types, any cut: the safetensors library and our reader of checkpoints agree with what was written."""
    folder = tmp_path_factory.mktemp("model")
    specs = [TensorSpec(f"t{n}", (rows, columns), dtype) for n, (rows, columns, dtype) in enumerate(shapes)]
    draws = np.random.default_rng(0)
    content = {spec.name: draws.integers(0, 256, stored_bytes(spec), dtype=np.uint8) for spec in specs}
    files = plan_model(specs, data.draw(st.integers(1, 1000)))
    released = {spec.name: spec.dtype for spec in specs}
    threads = data.draw(st.integers(0, 3))
    with ThreadPoolExecutor(threads) if threads else nullcontext() as pool:
        assert write_model(folder, files, lambda name: np.array_split(content[name], 3), released, pool) == {}
    for name, index in index_file(files).items():
        (folder / name).write_bytes(index)
    checkpoint = Checkpoint.open(folder)
    ours = tensors_in(files, map_files(folder, files))
    for spec in specs:
        assert (checkpoint.tensors[spec.name].shape, checkpoint.dtype(spec.name)) == (spec.shape, spec.dtype)
        assert np.array_equal(checkpoint.block(spec.name, 0, spec.size), content[spec.name])
        assert np.array_equal(ours[spec.name], content[spec.name])
    for file in files:
        with safe_open(folder / file.name, framework="numpy") as opened:
            assert opened.metadata() == {"format": "pt"}
            names = list(opened.keys())
            found = {name: tuple(opened.get_slice(name).get_shape()) for name in names}
            assert found == {spec.name: spec.shape for spec in file.tensors}


def test_shards_hold_the_values(tmp_path: Path) -> None:
    space = ParameterSpace.of(specs_of([7, 5, 11]))
    flat_P = np.random.default_rng(1).standard_normal(space.size, dtype=np.float32)
    views = space.unflatten(flat_P)
    files = plan_model(space.tensors, 50)
    write_model(tmp_path, files, lambda name: [views[name].view(np.uint8)], dict.fromkeys(views, "F32"))
    found = {name: value for file in files for name, value in load((tmp_path / file.name).read_bytes()).items()}
    assert space.flatten(found).tobytes() == flat_P.tobytes()
