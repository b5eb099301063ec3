"""Models in local files: what is written is read back, and nothing that a file says of itself is believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from barnraise.checkpoints import (
    ITEM_BYTES,
    Checkpoint,
    CheckpointWriter,
    DigestedCheckpoint,
    config_differences,
    plan_shards,
    tensor_differences,
)
from barnraise.checkpoints.folder import INDEX, SINGLE, travelling
from barnraise.checkpoints.header import HEADER_MAX_BYTES, StoredTensor, encode_header, parse_header
from barnraise.checkpoints.install import check_space, check_target, staged
from barnraise.digest import digest_bytes
from barnraise.errors import DiskFullError, NotACheckpointError, UsageError
from barnraise.updates.space import ParameterSpace, TensorSpec, model_digest

NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
SPECS = st.dictionaries(NAMES, st.tuples(SHAPES, st.sampled_from(["F32", "BF16", "F16", "I64", "BOOL"])), min_size=1)


def file_of(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def tensor(dtype: str = "F32", shape: tuple[int, ...] = (2,), at: tuple[int, int] = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(at)}


def written(folder: Path, specs: list[TensorSpec], shard_bytes: int, block: int) -> tuple[str, dict[str, bytes]]:
    """Write a model of random bytes, block by block."""
    draws = np.random.default_rng(0)
    values = {s.name: draws.integers(0, 256, s.size * ITEM_BYTES[s.dtype], dtype=np.uint8) for s in specs}
    folder.mkdir(parents=True, exist_ok=True)
    with CheckpointWriter(folder, specs, plan_shards(specs, shard_bytes)) as writer:
        for spec in specs:
            item = ITEM_BYTES[spec.dtype]
            for start in range(0, spec.size, block):
                writer.put(spec.name, start, values[spec.name][item * start : item * (start + block)])
        digest = writer.finish()
    return digest, {name: value.tobytes() for name, value in values.items()}


@settings(deadline=None, max_examples=40)
@given(SPECS, st.integers(1, 200), st.integers(1, 7))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    specs: dict[str, tuple[tuple[int, ...], str]],
    shard_bytes: int,
    block: int,
) -> None:
    folder = tmp_path_factory.mktemp("model")
    wanted = [TensorSpec(name, shape, dtype) for name, (shape, dtype) in specs.items()]
    digest, values = written(folder, wanted, shard_bytes, block)
    opened = Checkpoint.open(folder)
    assert {(s.name, s.shape, s.dtype) for s in opened.specs} == {(s.name, s.shape, s.dtype) for s in wanted}
    for spec in wanted:
        assert opened.block(spec.name, 0, spec.size).tobytes() == values[spec.name]
        assert opened.tensors[spec.name].begin % ITEM_BYTES[spec.dtype] == 0
        opened.release(spec.name, 0, spec.size)
        assert opened.block(spec.name, 0, spec.size).tobytes() == values[spec.name]
    assert DigestedCheckpoint(opened).digest() == digest
    space = ParameterSpace.of(wanted)
    assert digest == model_digest(space, [digest_bytes(values[spec.name]) for spec in space.tensors])


def test_the_digest_does_not_depend_on_shards(tmp_path: Path) -> None:
    specs = [TensorSpec(f"t{n}", (n, 3)) for n in range(9)]
    whole, _ = written(tmp_path / "whole", specs, 10**9, 2)
    parts, _ = written(tmp_path / "parts", specs, 40, 3)
    assert whole == parts
    assert [path.name for path in (tmp_path / "whole").iterdir()] == [SINGLE]
    assert len(Checkpoint.open(tmp_path / "parts").files) > 3
    assert Checkpoint.open(tmp_path / "parts" / INDEX).specs == Checkpoint.open(tmp_path / "parts").specs


def test_the_library_reads_ours_and_we_read_the_library_s(tmp_path: Path) -> None:
    values = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(True), "c": np.zeros((0, 4), np.float16)}
    save_file(values, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    theirs = Checkpoint.open(tmp_path / "theirs.safetensors")
    specs = theirs.specs
    with CheckpointWriter(tmp_path, specs, plan_shards(specs, 10**9)) as writer:
        for spec in specs:
            writer.put(spec.name, 0, theirs.block(spec.name, 0, spec.size))
        writer.finish()
    ours = load_file(tmp_path / SINGLE)
    assert {name: (v.shape, v.dtype, v.tobytes()) for name, v in ours.items()} == {
        name: (v.shape, v.dtype, v.tobytes()) for name, v in values.items()
    }


def test_blocks_out_of_order_are_not_a_model(tmp_path: Path) -> None:
    specs = [TensorSpec("a", (4,))]
    with CheckpointWriter(tmp_path, specs, plan_shards(specs, 100)) as writer:
        writer.put("a", 2, np.zeros(8, np.uint8))
        with pytest.raises(RuntimeError, match="0 bytes were hashed"):
            writer.finish()


# -- files that lie ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"PK\x03\x04 something", "no JSON object"),
        (file_of(b"[]"), "no JSON object"),
        ((1 << 40).to_bytes(8, "little") + b"{", "announces a header"),
        (file_of({"a": tensor()})[:40], "cut short"),
        (file_of({"a": tensor()}, bytes(7)), "cut short"),
        (file_of({"a": tensor()}, bytes(9)), "longer than it says"),
        (file_of(b"{" + b" " * 8), "no JSON that can be read"),
        (file_of(b'{"a":' * 5000 + b"1" + b"}" * 5000), "no JSON that can be read"),
        (file_of(b'{"a":{},"a":{}}'), "stands there twice"),
        (file_of({"a": {"dtype": "F32"}}), "exactly dtype, shape"),
        (file_of({"a": tensor(dtype="F31")}, bytes(8)), "not known here"),
        (file_of({"a": tensor(shape=(3,))}, bytes(8)), "needs 12"),
        (file_of({"a": tensor(shape=(-2,))}, bytes(8)), "no shape"),
        (file_of({"a": tensor(shape=(1 << 62, 4))}, bytes(8)), "no shape"),
        (file_of({"a": tensor(shape=(1 << 40, 1 << 40))}, bytes(8)), "needs"),
        (file_of({"a": tensor(at=(8, 0))}, bytes(8)), "begins and ends"),
        (file_of({"a": {**tensor(), "shape": [True, 2]}}, bytes(8)), "no shape"),
        (file_of({"a": tensor(), "b": tensor()}, bytes(8)), "without gaps or overlaps"),
        (file_of({"a": tensor(at=(8, 16))}, bytes(16)), "without gaps or overlaps"),
        (file_of({"a": tensor(at=(4, 12)), "b": tensor()}, bytes(12)), "without gaps or overlaps"),
    ],
)
def test_a_file_that_is_not_what_it_says(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / SINGLE).write_bytes(content)
    with pytest.raises(NotACheckpointError, match=reason):
        Checkpoint.open(tmp_path)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_changed_header_is_refused_or_stays_in_bounds(data: st.DataObject) -> None:
    good = file_of({"__metadata__": {"format": "pt"}, "a": tensor(), "b": tensor("BF16", (3,), (8, 14))}, bytes(14))
    place = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[place] = data.draw(st.integers(0, 255))
    try:
        found = parse_header(bytes(changed), len(changed), "model")
    except NotACheckpointError:
        return
    for one in found:
        assert 0 <= one.begin <= one.end <= len(changed)
        assert one.size_bytes == one.size * ITEM_BYTES[one.dtype]


def test_a_header_that_is_too_long_is_not_parsed(tmp_path: Path) -> None:
    with (tmp_path / SINGLE).open("wb") as file:
        file.write((HEADER_MAX_BYTES + 8).to_bytes(8, "little") + b"{")
        file.truncate(HEADER_MAX_BYTES + 16)
    with pytest.raises(NotACheckpointError, match="at most"):
        Checkpoint.open(tmp_path)


def test_a_header_is_padded_so_that_tensors_lie_aligned() -> None:
    for name in ("a", "ab", "abc", "abcd", "\u00e4\n\0"):
        assert len(encode_header([StoredTensor(name, "F32", (1,), 0, 4)], {})) % 8 == 0


# -- folders -------------------------------------------------------------------------------


def shards(folder: Path, where: dict[str, str], **others: Any) -> None:
    folder.mkdir()
    for name in {"one.safetensors", "two.safetensors"}:
        tensors = {key: np.zeros(2, np.float32) for key, file in where.items() if file == name}
        save_file(tensors or {"z": np.zeros(1, np.float32)}, folder / name)
    (folder / INDEX).write_text(json.dumps({"weight_map": where, **others}))


def test_an_index_says_where_tensors_are(tmp_path: Path) -> None:
    where = {"a": "one.safetensors", "b": "two.safetensors"}
    shards(tmp_path / "good", where)
    assert list(Checkpoint.open(tmp_path / "good").tensors) == ["a", "b"]
    shards(tmp_path / "absent", where)
    (tmp_path / "absent" / "two.safetensors").unlink()
    with pytest.raises(NotACheckpointError, match="1 of 2 shards are not there, such as 'two"):
        Checkpoint.open(tmp_path / "absent")
    shards(tmp_path / "wrong", {**where, "c": "one.safetensors"})
    (tmp_path / "wrong" / INDEX).write_text(json.dumps({"weight_map": {**where, "c": "two.safetensors"}}))
    with pytest.raises(NotACheckpointError, match="index says otherwise"):
        Checkpoint.open(tmp_path / "wrong")


@pytest.mark.parametrize("name", ["../one.safetensors", "/etc/x.safetensors", "a\\b.safetensors", "one.bin", ".hidden"])
def test_an_index_names_no_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(NotACheckpointError, match="expected safetensors files beside it"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "\udc80"])
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(NotACheckpointError):
        Checkpoint.open(tmp_path)


def test_folders_without_one_model(tmp_path: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(NotACheckpointError, match=match):
            Checkpoint.open(tmp_path)

    with pytest.raises(NotACheckpointError, match="there is no"):
        Checkpoint.open(tmp_path / "nowhere")
    refused("holds no model")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    refused("pickled")
    save_file({"a": np.zeros(1)}, tmp_path / "adapter_model.safetensors")
    refused("an adapter")
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "x.safetensors")
    assert list(Checkpoint.open(tmp_path).tensors) == ["a"]
    save_file({"a": np.zeros(1)}, tmp_path / "y.safetensors")
    refused("2 safetensors files")


def test_what_travels_along_is_on_a_list(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "modeling.py", "x.bin", "x.pt", "README.md"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in travelling(tmp_path)] == ["config.json", "tokenizer.json", "chat_template.jinja"]


# -- comparing and installing --------------------------------------------------------------


def tensors(**shapes: tuple[int, ...]) -> dict[str, StoredTensor]:
    return {name: StoredTensor(name, "F32", shape, 0, 0) for name, shape in shapes.items()}


def test_differences_name_the_first_few() -> None:
    assert tensor_differences(tensors(a=(1,)), tensors(a=(1,))) == []
    names = {f"n{n}": (1,) for n in range(9)}
    assert tensor_differences(tensors(**names), {}) == ["lacks 'n0', 'n1', 'n2' and 6 more (9 in all)"]
    assert tensor_differences({}, tensors(b=())) == ["has 'b' too many"]
    assert tensor_differences(tensors(a=(1, 2)), tensors(a=(2, 1))) == [
        "differs in shape: 'a' is [2, 1], expected [1, 2]"
    ]


def test_configurations_differ_in_kind_or_in_detail() -> None:
    assert config_differences(None, {"model_type": "llama"}) == ([], [])
    ours, theirs = {"model_type": "llama", "rope_theta": 1.0, "x": 1}, {"model_type": "gpt2", "rope_theta": 2.0, "x": 2}
    assert config_differences(ours, theirs) == (
        ["model_type is gpt2, expected llama"],
        ["rope_theta is 2.0, expected 1.0"],
    )


def test_a_target_is_new_or_an_earlier_merge(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_target(out, [])
    out.mkdir()
    check_target(out, [])
    (out / SINGLE).write_bytes(b"")
    with pytest.raises(UsageError, match="not an earlier merge"):
        check_target(out, [])
    (out / "merge.toml").write_bytes(b"")
    check_target(out, [])
    (out / "model-00001-of-00002.safetensors").write_bytes(b"")
    check_target(out, [])
    for source in (out, out / SINGLE):
        with pytest.raises(UsageError, match="is an input"):
            check_target(out, [source])
    (out / "thesis.tex").write_bytes(b"")
    with pytest.raises(UsageError, match=r"'thesis\.tex'"):
        check_target(out, [])
    with pytest.raises(UsageError, match="is a file"):
        check_target(out / "thesis.tex", [])


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "there" / "yet", 1)
    with pytest.raises(DiskFullError, match="nothing was written"):
        check_space(tmp_path, 1 << 60)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, os.strerror(28)), ValueError])
def test_what_fails_leaves_nothing(tmp_path: Path, error: Any) -> None:
    out = tmp_path / "out"
    with staged(out) as folder:
        (folder / "old").write_text("old")

    def fail() -> None:
        with staged(out) as folder:
            (folder / "new").write_text("new")
            raise error

    with pytest.raises((KeyboardInterrupt, DiskFullError, ValueError)):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["old"]
    with staged(out) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
