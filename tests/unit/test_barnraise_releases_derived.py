"""Derived models: what goes in comes out, byte for byte, and costs what it should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.digest import digest_bytes
from barnraise.errors import BrokenChainError, NotACheckpointError, UsageError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases import store as store_module
from barnraise.releases.convert import Stored
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.imports import Imported
from barnraise.releases.derived.manifest import DerivedManifest, ModelRef
from barnraise.releases.derived.rounding import in_type
from barnraise.releases.derived.version import next_derived_version
from barnraise.releases.lossless import coding, encode
from barnraise.updates.space import ParameterSpace, TensorSpec, model_digest
from family import FamilyRun, raw, save, tuned
from published import SPACE

FIRST, SECOND = (spec.name for spec in SPACE.tensors)
FLOATS = st.sampled_from(["F32", "BF16", "F16"])


@pytest.fixture
def run(tmp_path: Path) -> FamilyRun:
    return FamilyRun.at(tmp_path / "run")


def how(done: Imported) -> dict[str, tuple[bool, bool, int]]:
    """Tensor -> whether it has a blob, whether it has a base, its depth."""
    return {t.name: (t.blob is not None, t.base is not None, t.depth) for t in done.manifest.tensors}


def test_what_does_not_come_back_is_not_listed(run: FamilyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "_decoder", lambda layout: lambda kind, body, base, out: out.fill(0))
    path = save(tmp_path / "ft", raw(tuned(run.run.models["0.1.2"])))
    with pytest.raises(VerificationError, match=f"tensor '{SECOND}': a block does not come back as it was"):
        run.imports(path, "tiny-de", run.trunk("0.1.2"))
    assert run.derived == []
    assert run.run.store.sweep() == 0, "what was half written is gone"


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_blobs_are_what_encoding_a_whole_tensor_gives(
    run: FamilyRun, tmp_path: Path, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written in parts, by any number of threads, of a tensor of some blocks among small ones."""
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(native.os, "sched_getaffinity", lambda _: range(8), raising=False)
    drawn_N = np.random.default_rng(5).standard_normal(600_001, dtype=np.float32)
    tensors = {**raw(tuned(run.run.models["0.1.2"])), TensorSpec("large", (600_001,), "F32"): drawn_N.view(np.uint8)}
    done = run.imports(save(tmp_path / "ft", tensors), "tiny-de", run.trunk("0.1.2"))
    data = {spec.name: content for spec, content in tensors.items()}
    before = SPACE.unflatten(run.run.models["0.1.2"])
    for tensor in done.manifest.tensors:
        base = before[tensor.name].tobytes() if tensor.base is not None else None
        expected = encode(data[tensor.name].tobytes(), "F32", base)
        assert tensor.blob == BlobRef(digest=digest_bytes(expected), size_bytes=len(expected)), tensor.name
        assert run.run.store.read(tensor.blob.digest) == expected


def test_a_parent_that_is_damaged_is_found_out(run: FamilyRun, tmp_path: Path) -> None:
    """Its tensors are compared, not its file as a whole."""
    path = save(tmp_path / "ft", raw(tuned(run.run.models["0.1.0"])))
    keyframe = run.index().entry("0.1.0").keyframe
    assert keyframe is not None
    whole = run.run.store.path(keyframe.digest)
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    whole.write_bytes(data)
    with pytest.raises(VerificationError, match=r"is b3:.*, its manifest says b3:"):
        run.imports(path, "tiny-de", run.trunk("0.1.0"))
    assert run.derived == []


def test_names_of_blobs_are_durable_before_a_manifest_names_them(
    run: FamilyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pass over the folders when all tensors are stored, and only then the documents."""
    told: list[str] = []
    real = store_module.fsync_folder
    monkeypatch.setattr(store_module, "fsync_folder", lambda folder: (told.append(folder.name), real(folder))[1])
    done = run.imports(save(tmp_path / "ft", raw(tuned(run.run.models["0.1.2"]))), "tiny-de", run.trunk("0.1.2"))
    tensors = {tensor.blob.digest[3:5] for tensor in done.manifest.tensors if tensor.blob is not None}
    documents = [done.manifest.card.digest[3:5], done.blob.digest[3:5]]
    assert told == [*sorted(tensors), *documents]


# -- bit for bit -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_a_fine_tune_comes_back_byte_for_byte(run: FamilyRun, tmp_path: Path, dtype: Stored) -> None:
    flat_P = run.run.models["0.1.2"]
    path = save(tmp_path / "ft", raw(tuned(flat_P), dtype))
    done = run.imports(path, "tiny-de", run.trunk("0.1.2"))
    assert done.manifest.version == "0.1.0"
    assert how(done) == {FIRST: (True, True, 1), SECOND: (True, True, 1)}
    run.comes_back(done, path)
    lineage = done.manifest.lineage
    assert (lineage.unchanged, lineage.changed, lineage.own) == (0, 2, 0)


def other_tensors(draws: np.random.Generator) -> dict[TensorSpec, np.ndarray]:
    """What fits no parent: other names, shapes and types, a scalar, an empty one, NaN and infinities."""
    weird_N = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38] * 20, dtype="<f4")
    return {
        TensorSpec("positions", (7, 3), "I64"): draws.integers(0, 99, 21, dtype=np.int64).view(np.uint8),
        TensorSpec("mask", (13,), "BOOL"): draws.integers(0, 2, 13, dtype=np.uint8),
        TensorSpec("scale", (), "F32"): np.array([2.5], dtype="<f4").view(np.uint8),
        TensorSpec("nothing", (0, 4), "BF16"): np.zeros(0, np.uint8),
        TensorSpec("eighth", (5,), "F8_E4M3"): draws.integers(0, 255, 5, dtype=np.uint8),
        TensorSpec("weird", (120,), "F32"): weird_N.view(np.uint8),
    }


def test_tensors_that_the_parent_does_not_have_stand_alone(run: FamilyRun, tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    turned = {TensorSpec(FIRST, (40, 30), "F32"): draws.standard_normal(1200, dtype=np.float32).view(np.uint8)}
    path = save(tmp_path / "ft", {**other_tensors(draws), **turned})
    done = run.imports(path, "tiny-de", run.trunk("0.1.2"))
    assert set(how(done).values()) == {(True, False, 0)}
    assert done.manifest.lineage.own == len(done.manifest.tensors)
    run.comes_back(done, path)


def test_a_sharded_folder_brings_its_files_and_its_own_page(run: FamilyRun, tmp_path: Path) -> None:
    path = save(
        tmp_path / "ft",
        raw(tuned(run.run.models["0.1.2"])),
        shard_bytes=4096,
        config_dot_json='{"model_type": "toy"}',
        tokenizer_dot_json="{}",
        README_dot_md="# Mine\n",
        notes_dot_py="print('code never travels')\n",
    )
    assert len(list(path.glob("*.safetensors"))) == 2
    done = run.imports(path, "tiny-de", run.trunk("0.1.2"), licence="MIT", note="for my dog")
    run.comes_back(done, path)
    store = run.run.store
    assert {file.name: store.read(file.blob.digest) for file in done.manifest.files} == {
        "config.json": b'{"model_type": "toy"}',
        "tokenizer.json": b"{}",
    }
    assert store.read(done.manifest.card.digest) == b"# Mine\n"
    assert (done.manifest.licence, done.manifest.lineage.note) == ("MIT", "for my dog")


def test_a_page_is_written_where_there_is_none(run: FamilyRun, tmp_path: Path) -> None:
    path = save(tmp_path / "ft", raw(tuned(run.run.models["0.1.2"])))
    done = run.imports(path, "tiny-de", run.trunk("0.1.2"), licence="MIT", note='"]\n<script>')
    page = run.run.store.read(done.manifest.card.digest).decode()
    assert 'license: "mit"' in page
    assert 'base_model: "tiny-lm"\nbase_model_relation: finetune' in page
    assert "<script>" not in page


@settings(deadline=None, max_examples=60)
@given(before=FLOATS, after=FLOATS, values=st.lists(st.floats(width=32), max_size=30))
def test_a_parent_in_another_type_has_one_answer_or_none(before: str, after: str, values: list[float]) -> None:
    with np.errstate(over="ignore"):
        data = (
            np.array(values, dtype="<f4").view(np.uint8) if before == "F32" else np.arange(2 * len(values), dtype="u1")
        )
    one, two = in_type(data, before, after), in_type(np.array(data), before, after)
    if one is None:
        assert two is None
    else:
        assert two is not None
        assert np.array_equal(one, two)
        assert len(one) == len(values) * (4 if after == "F32" else 2)


# -- what it costs -----------------------------------------------------------------------------


def test_what_did_not_change_costs_nothing(run: FamilyRun, tmp_path: Path) -> None:
    flat_P = run.run.models["0.1.2"]
    path = save(tmp_path / "ft", raw(tuned(flat_P, only=SECOND)))
    done = run.imports(path, "tiny-de", run.trunk("0.1.2"))
    assert how(done) == {FIRST: (False, True, 0), SECOND: (True, True, 1)}
    assert (done.manifest.lineage.unchanged, done.manifest.lineage.changed) == (1, 1)
    run.comes_back(done, path)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_a_parent_that_was_only_rounded_costs_nothing(run: FamilyRun, tmp_path: Path, dtype: Stored) -> None:
    path = save(tmp_path / "ft", raw(run.run.models["0.1.2"], dtype))
    done = run.imports(path, "tiny-half", run.trunk("0.1.2"), relation="quantised")
    assert set(how(done).values()) == {(False, True, 0)}
    assert done.manifest.lineage.unchanged == 2
    run.comes_back(done, path)


def test_an_equal_tensor_of_any_model_is_stored_once(run: FamilyRun, tmp_path: Path) -> None:
    flat_P = run.run.models["0.1.2"]
    alone = other_tensors(np.random.default_rng(1))
    first = run.imports(save(tmp_path / "a", {**raw(tuned(flat_P)), **alone}), "tiny-de", run.trunk("0.1.2"))
    before = run.blobs()
    renamed = {TensorSpec("x." + spec.name, spec.shape, spec.dtype): data for spec, data in alone.items()}
    path = save(tmp_path / "b", {**raw(tuned(flat_P)), **renamed})
    second = run.imports(path, "tiny-fr", run.trunk("0.1.1"))
    run.comes_back(second, path)
    added = run.blobs() - before
    assert added == {second.blob.digest, second.manifest.card.digest}
    assert {ref.version for ref in second.manifest.bases} == {"0.1.1", "0.1.2"}
    assert {b.digest for b in second.manifest.blobs} == {b.digest for b in first.manifest.blobs}


def test_equal_tensors_of_one_model_are_stored_once(run: FamilyRun, tmp_path: Path) -> None:
    data = np.random.default_rng(3).standard_normal(500, dtype=np.float32).view(np.uint8)
    tied = {TensorSpec(name, (500,), "F32"): data for name in ("embed", "head")}
    done = run.imports(save(tmp_path / "ft", tied), "tiny-de", run.trunk("0.1.2"))
    assert len(done.manifest.blobs) == 1


def test_what_is_nothing_like_its_parent_is_stored_alone(run: FamilyRun, tmp_path: Path) -> None:
    stranger_P = np.random.default_rng(9).standard_normal(SPACE.size, dtype=np.float32)
    path = save(tmp_path / "ft", raw(stranger_P))
    done = run.imports(path, "tiny-de", run.trunk("0.1.2"))
    for tensor in done.manifest.tensors:
        assert tensor.blob is not None
        assert tensor.blob.size_bytes <= len(encode(bytes(run.family().read(done.manifest.ref, tensor.name)), "F32"))
    run.comes_back(done, path)


# -- chains ------------------------------------------------------------------------------------


def test_chains_are_bounded_by_tensors_that_stand_alone(run: FamilyRun, tmp_path: Path) -> None:
    flat_P, parent = run.run.models["0.1.2"], run.trunk("0.1.2")
    depths = []
    for number in range(8):
        flat_P = tuned(flat_P, seed=number)
        path = save(tmp_path / str(number), raw(flat_P))
        done = run.imports(path, f"tiny-{number}", parent, depth_most=3)
        run.comes_back(done, path)
        depths.append(done.manifest.tensors[0].depth)
        parent = done.manifest.ref
    assert depths == [1, 2, 3, 0, 1, 2, 3, 0]


def test_a_grandchild_needs_what_all_above_it_need(run: FamilyRun, tmp_path: Path) -> None:
    flat_P = run.run.models["0.1.2"]
    child_P, parent = tuned(flat_P, only=FIRST), run.trunk("0.1.2")
    child = run.imports(save(tmp_path / "a", raw(child_P)), "tiny-a", parent)
    grandchild = run.imports(
        save(tmp_path / "b", raw(tuned(child_P, seed=1, only=FIRST), "BF16")), "tiny-b", child.manifest.ref
    )
    needs = run.family().needs(grandchild.manifest.ref)
    assert needs.releases == ("0.1.2",)
    blobs = {blob.digest for done in (child, grandchild) for blob in done.manifest.blobs}
    assert {blob.digest for blob in needs.blobs} == blobs
    assert len(blobs) == 2


def with_tensor(manifest: DerivedManifest, number: int, **changes: object) -> DerivedManifest:
    """The manifest with one tensor altered, and consistent again."""
    tensors = list(manifest.tensors)
    tensors[number] = tensors[number].model_copy(update=changes)
    space = ParameterSpace(tuple(t.spec for t in tensors))
    digest = model_digest(space, [t.digest for t in tensors])
    return manifest.model_copy(update={"tensors": tuple(tensors), "model_digest": digest})


def listed(run: FamilyRun, manifest: DerivedManifest) -> ModelRef:
    """List a manifest that no import has made."""
    run.derived.clear()
    data = manifest.canonical()
    from barnraise.message import BlobRef

    run.lists(manifest, BlobRef(digest=run.run.store.put(data), size_bytes=len(data)))
    return manifest.ref


def test_a_tensor_that_is_built_upon_itself_is_refused(run: FamilyRun, tmp_path: Path) -> None:
    done = run.imports(save(tmp_path / "a", raw(tuned(run.run.models["0.1.2"]))), "tiny-de", run.trunk("0.1.2"))
    circular = done.manifest.model_copy(update={"bases": (done.manifest.ref,)})
    ref = listed(run, circular)
    for use in (run.family().needs, lambda ref: run.family().read(ref, FIRST)):
        with pytest.raises(BrokenChainError, match="built upon itself"):
            use(ref)


def test_a_base_that_is_not_listed_or_another_one_is_refused(run: FamilyRun, tmp_path: Path) -> None:
    done = run.imports(save(tmp_path / "a", raw(tuned(run.run.models["0.1.2"]))), "tiny-de", run.trunk("0.1.2"))
    (base,) = done.manifest.bases
    for changes, words in (
        ({"version": "0.9.9"}, "does not list it"),
        ({"model_digest": "b3:" + "0" * 64}, "another model"),
    ):
        ref = listed(run, done.manifest.model_copy(update={"bases": (base.model_copy(update=changes),)}))
        with pytest.raises(BrokenChainError, match=words):
            run.family().read(ref, FIRST)


def test_a_blob_that_gives_another_tensor_is_refused(run: FamilyRun, tmp_path: Path) -> None:
    done = run.imports(save(tmp_path / "a", raw(tuned(run.run.models["0.1.2"]))), "tiny-de", run.trunk("0.1.2"))
    for digest, words in (("b3:" + "0" * 64, "its manifest says b3:000"),):
        ref = listed(run, with_tensor(done.manifest, 0, digest=digest))
        with pytest.raises(VerificationError, match=words):
            run.family().read(ref, FIRST)


def test_a_damaged_blob_is_refused(run: FamilyRun, tmp_path: Path) -> None:
    done = run.imports(save(tmp_path / "a", raw(tuned(run.run.models["0.1.2"]))), "tiny-de", run.trunk("0.1.2"))
    blob = done.manifest.tensors[0].blob
    assert blob is not None
    path = run.run.store.path(blob.digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Exception, match=r"blob|compressed"):
        run.family().read(done.manifest.ref, FIRST)


# -- names, numbers, refusals ------------------------------------------------------------------


def test_numbers_follow_from_what_changed(run: FamilyRun, tmp_path: Path) -> None:
    flat_P, trunk = run.run.models["0.1.2"], run.trunk("0.1.2")
    first = run.imports(save(tmp_path / "1", raw(tuned(flat_P))), "tiny-de", trunk)
    again = run.imports(tmp_path / "1", "tiny-de", trunk)
    assert (again.is_new, again.manifest) == (False, first.manifest)
    assert again.written_bytes == 0
    versions = [first.manifest.version]
    versions.append(
        run.imports(save(tmp_path / "2", raw(tuned(flat_P, 2))), "tiny-de", run.trunk("0.1.1")).manifest.version
    )
    versions.append(run.imports(save(tmp_path / "3", raw(tuned(flat_P), "BF16")), "tiny-de", trunk).manifest.version)
    done = run.imports(save(tmp_path / "4", raw(tuned(flat_P, 4), "BF16")), "tiny-de", first.manifest.ref)
    assert [*versions, done.manifest.version] == ["0.1.0", "0.1.1", "0.2.0", "0.3.0"]
    assert done.manifest.reason == "comes from tiny-de, 0.2.0 from tiny-lm"
    assert next_derived_version([], SPACE, "tiny-lm") == ("0.1.0", "the first import of this name")


@pytest.mark.parametrize("name", ["tiny-lm", "Has Spaces", "../up", ""])
def test_names_that_cannot_be(run: FamilyRun, tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "ft", raw(run.run.models["0.1.2"]))
    with pytest.raises(UsageError, match="--as"):
        run.imports(path, name, run.trunk("0.1.2"))


def test_a_folder_without_a_model_is_refused_and_leaves_nothing(run: FamilyRun, tmp_path: Path) -> None:
    before = run.blobs()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotACheckpointError):
        run.imports(tmp_path / "empty", "tiny-de", run.trunk("0.1.2"))
    header = json.dumps({"a\nb": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "bad.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(NotACheckpointError, match="printable"):
        run.imports(tmp_path / "bad.safetensors", "tiny-de", run.trunk("0.1.2"))
    assert run.blobs() == before


def test_the_same_import_gives_the_same_blobs_anywhere(tmp_path: Path) -> None:
    seen = []
    for name in ("one", "two"):
        run = FamilyRun.at(tmp_path / name)
        path = save(tmp_path / f"ft-{name}", raw(tuned(run.run.models["0.1.2"]), "BF16"))
        seen.append(run.imports(path, "tiny-de", run.trunk("0.1.2")).blob)
    assert seen[0] == seen[1]


def test_a_manifest_that_contradicts_itself_is_refused(run: FamilyRun, tmp_path: Path) -> None:
    done = run.imports(save(tmp_path / "a", raw(tuned(run.run.models["0.1.2"]))), "tiny-de", run.trunk("0.1.2"))
    good = done.manifest.model_dump(mode="json")
    DerivedManifest.read(good)
    for path, value in (
        (("model_digest",), "b3:" + "0" * 64),
        (("bases",), []),
        (("tensors", 0, "dtype"), "F99"),
        (("tensors", 0, "shape", 0), -1),
        (("tensors", 0, "name"), "a\nb"),
        (("files",), [{"name": "../x.json", "blob": good["card"]}]),
        (("files",), [{"name": "config.json", "blob": good["card"]}] * 2),
        (("tensors",), good["tensors"][::-1]),
        (("tensors", 0), {**good["tensors"][0], "blob": None, "base": None}),
        (("lineage", "relation"), "stolen"),
        (("card", "size_bytes"), 1 << 29),
    ):
        bad = json.loads(json.dumps(good))
        at = bad
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        with pytest.raises(Exception, match="derived-manifest"):
            DerivedManifest.read(bad)


def test_a_family_reads_the_trunk_too(run: FamilyRun) -> None:
    family: Family = run.family()
    found = family.read(run.trunk("0.1.1"), FIRST)
    assert np.array_equal(found.view("<f4"), SPACE.unflatten(run.run.models["0.1.1"])[FIRST].reshape(-1))
