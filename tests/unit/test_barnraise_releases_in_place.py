"""Derived models read where their blobs lie: nothing is copied, nothing is believed in the end, nothing is left."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from barnraise import native
from barnraise.digest import digest_file
from barnraise.errors import BlobMissingError, UsageError, VerificationError
from barnraise.native import lossless as loops
from barnraise.releases import catalog as catalog_module
from barnraise.releases.blob_file import BlobFile
from barnraise.releases.cache import Cache
from barnraise.releases.catalog import Catalog
from barnraise.releases.convert import widen
from barnraise.releases.derived import family as family_module
from barnraise.releases.derived.plan import DerivedPlan
from barnraise.releases.fetch import Progress, silent
from barnraise.releases.layout import plan_model
from barnraise.releases.lossless import coding
from barnraise.releases.mirror import mirror
from barnraise.releases.model_files import write_model
from barnraise.releases.pull import Pulling, PullOptions, pull, would_pull
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions
from barnraise.updates.space import TensorSpec
from family import FamilyRun, holds, raw, save, tuned
from published import SPACE

FIRST, SECOND = (spec.name for spec in SPACE.tensors)


@pytest.fixture
def run(tmp_path: Path) -> FamilyRun:
    """A trunk, a fine-tune in bfloat16 of it, and one in float32 of that."""
    run = FamilyRun.at(tmp_path / "run", now=True)
    flat_P = tuned(run.run.models["0.1.2"])
    done = run.imports(save(tmp_path / "child", raw(flat_P, "BF16")), "tiny-de", run.trunk("0.1.2"))
    again = run.imports(save(tmp_path / "grandchild", raw(here_and_there(flat_P))), "tiny-at", done.manifest.ref)
    assert [tensor.depth for tensor in again.manifest.tensors] == [2, 2]
    return run


def here_and_there(flat_P: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights that were rounded to bfloat16, of which some have moved a little since."""
    rounded_P = np.concatenate([widen(data, "BF16") for data in raw(flat_P, "BF16").values()])
    rounded_P[::50] *= np.float32(1.001)
    return rounded_P


@pytest.fixture
def options(tmp_path: Path) -> PullOptions:
    return PullOptions(trust=TrustOptions(home=tmp_path / "trust"), cache=Cache(tmp_path / "cache", 1 << 30))


def plan_of(run: FamilyRun, options: PullOptions, into: Path, name: str = "tiny-at") -> DerivedPlan:
    plan = would_pull(FolderSource(run.run.root), name, into, options).plan
    assert isinstance(plan, DerivedPlan)
    return plan


def cached(options: PullOptions) -> set[str]:
    assert options.cache is not None
    return {blob.digest for blob in options.cache.store.stored()}


def meanwhile(options: PullOptions, act: Callable[[], object]) -> PullOptions:
    """The options of a pull during which something happens, after it was planned and before anything is read."""

    @contextmanager
    def watch(_: Pulling) -> Iterator[Progress]:
        act()
        yield silent

    return replace(options, watch=watch)


def altered(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def state(root: Path) -> list[tuple[str, int, int, int]]:
    return [
        (str(path), found.st_size, found.st_mtime_ns, stat.S_IMODE(found.st_mode))
        for path in sorted(root.rglob("*"))
        for found in [path.lstat()]
    ]


def test_tensors_are_not_copied_and_count_as_at_hand(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    plan = plan_of(run, options, tmp_path / "model")
    assert {blob.digest for blob in plan.tensors} <= plan.at_hand
    done = pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options)
    holds(tmp_path / "model", tmp_path / "grandchild")
    assert done.fetched_bytes == done.plan.fetch_bytes
    assert not cached(options) & {blob.digest for blob in plan.tensors}
    assert cached(options) >= {blob.digest for blob in plan.documents}


def test_a_folder_on_another_disk_is_copied_into_the_cache(
    run: FamilyRun, options: PullOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "_disk", -1)
    tensors = {blob.digest for blob in plan_of(run, options, tmp_path / "model").tensors}
    pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options)
    assert cached(options) >= tensors
    shutil.rmtree(tmp_path / "model")
    monkeypatch.undo()
    pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options)  # and now it comes from the cache
    holds(tmp_path / "model", tmp_path / "grandchild")


def test_a_read_only_folder_is_read_and_left_as_it_was(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    mirror(FolderSource(run.run.root), tmp_path / "mirror")
    paths = [tmp_path / "mirror", *(tmp_path / "mirror").rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(tmp_path / "mirror")
    pull(FolderSource(tmp_path / "mirror"), "tiny-at", tmp_path / "model", options)
    holds(tmp_path / "model", tmp_path / "grandchild")
    assert state(tmp_path / "mirror") == before
    for path in (tmp_path / "model").rglob("*"):
        assert path.stat().st_mode & stat.S_IWUSR, path
    for path in paths:  # so that it can be removed
        path.chmod(0o755)


@pytest.mark.parametrize("place", ["first", "header", "middle", "last"])
def test_a_byte_that_was_altered_is_found(run: FamilyRun, options: PullOptions, tmp_path: Path, place: str) -> None:
    (tmp_path / "model").mkdir()
    for blob in plan_of(run, options, tmp_path / "model").tensors:
        path = run.run.store.path(blob.digest)
        whole = path.read_bytes()
        altered(path, {"first": 0, "header": 16, "middle": blob.size_bytes // 2, "last": -1}[place])
        with pytest.raises(VerificationError, match=rf"{run.run.root}.* sent b3:"):
            pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options)
        assert not any((tmp_path / "model").iterdir())
        assert not list(tmp_path.glob(".model*"))
        path.write_bytes(whole)
    assert pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options).changed
    holds(tmp_path / "model", tmp_path / "grandchild")


def test_what_is_damaged_comes_from_another_source(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    mirror(FolderSource(run.run.root), tmp_path / "mirror")
    plan = plan_of(run, options, tmp_path / "model")
    blob = plan.tensors[0]
    altered(run.run.store.path(blob.digest), 40)
    beside = replace(options, mirrors=(FolderSource(tmp_path / "mirror"),))
    done = pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", beside)
    holds(tmp_path / "model", tmp_path / "grandchild")
    assert [str(run.run.root) in warning and "thrown away" in warning for warning in done.warnings] == [True]
    assert cached(options) & {other.digest for other in plan.tensors} == {blob.digest}


@pytest.mark.parametrize("what", ["removed", "shorter", "longer", "a folder"])
def test_what_changes_during_the_pull(run: FamilyRun, options: PullOptions, tmp_path: Path, what: str) -> None:
    """As a collection, or ``mirror --prune``, does it: somebody else has the blob, or nothing is installed."""
    mirror(FolderSource(run.run.root), tmp_path / "mirror")
    tensors = plan_of(run, options, tmp_path / "model").tensors
    path = run.run.store.path(tensors[-1].digest)
    whole = path.read_bytes()

    def act() -> None:
        path.unlink()
        if what == "a folder":
            path.mkdir()
        elif what != "removed":
            path.write_bytes(whole[:-7] if what == "shorter" else whole + b"longer")

    with pytest.raises((BlobMissingError, VerificationError)):
        pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", meanwhile(options, act))
    assert not (tmp_path / "model").exists()
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    beside = replace(meanwhile(options, act), mirrors=(FolderSource(tmp_path / "mirror"),))
    pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", beside)
    holds(tmp_path / "model", tmp_path / "grandchild")


def test_a_file_that_is_open_is_read_to_its_end_whoever_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"0123456789")
    memory = bytearray(4)
    with BlobFile(path, 10) as file:
        path.unlink()
        path.write_bytes(b"another one")
        file.read(memoryview(memory), 6)
        assert memory == b"6789"
        with pytest.raises(VerificationError, match="ends after 10 bytes"):
            file.read(memoryview(memory), 7)


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"0123456789")
    with pytest.raises(VerificationError, match="has 10 bytes, its blob 11"):
        BlobFile(path, 11)
    with BlobFile(path, 10) as file:

        def preadv(*_: object) -> int:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("os.preadv", preadv)
        with pytest.raises(VerificationError, match="Input/output error; use another mirror"):
            file.read(memoryview(bytearray(1)), 0)


def test_another_users_files_that_may_not_be_read(
    run: FamilyRun, options: PullOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for as from any source, which says what is the matter; another one may have them."""
    mirror(FolderSource(run.run.root), tmp_path / "mirror")
    blob = plan_of(run, options, tmp_path / "model").tensors[0]
    hidden = run.run.store.path(blob.digest)
    real_open, real_access = Path.open, catalog_module.os.access

    def refuse(path: Path, *how: str, **more: str) -> object:
        if path == hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *how, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(catalog_module.os, "access", lambda path, how: path != hidden and real_access(path, how))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BlobMissingError, match="Permission denied"):
        pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options)
    assert not (tmp_path / "model").exists()
    beside = replace(options, mirrors=(FolderSource(tmp_path / "mirror"),))
    pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", beside)
    holds(tmp_path / "model", tmp_path / "grandchild")


@pytest.mark.parametrize("what", ["keyframe", "patch", "tensor"])
def test_what_was_damaged_in_the_cache_is_fetched_again(
    run: FamilyRun, options: PullOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Nothing is hashed ahead: that the tensors are not what they should be is how it is found."""
    monkeypatch.setattr(Catalog, "_disk", -1)
    pull(FolderSource(run.run.root), "tiny-at", tmp_path / "first", options)
    plan = plan_of(run, options, tmp_path / "model")
    assert options.cache is not None
    damaged = {"keyframe": plan.keyframe, "patch": plan.patches[-1].blob, "tensor": plan.tensors[0]}[what]
    assert damaged is not None
    path = options.cache.store.path(damaged.digest)
    altered(path, -3)
    done = pull(FolderSource(run.run.root), "tiny-at", tmp_path / "model", options)
    holds(tmp_path / "model", tmp_path / "grandchild")
    assert (done.fetched_bytes, digest_file(path)) == (damaged.size_bytes, damaged.digest)


def test_a_release_that_was_mapped_before_it_was_found_damaged_is_read_again(
    run: FamilyRun, options: PullOptions, tmp_path: Path
) -> None:
    """One that is stored whole is not built, and so not compared, before tensors are decoded against it."""
    run.imports(save(tmp_path / "one", raw(tuned(run.run.models["0.1.0"]))), "tiny-one", run.trunk("0.1.0"))
    pull(FolderSource(run.run.root), "tiny-lm@0.1.0", tmp_path / "trunk", options)
    keyframe = plan_of(run, options, tmp_path / "model", "tiny-one").keyframe
    assert keyframe is not None
    assert options.cache is not None
    altered(options.cache.store.path(keyframe.digest), -2)
    done = pull(FolderSource(run.run.root), "tiny-one", tmp_path / "model", options)
    holds(tmp_path / "model", tmp_path / "one")
    assert done.fetched_bytes > keyframe.size_bytes


def test_damage_is_never_taken_for_a_value_that_is_too_large(tmp_path: Path) -> None:
    """What cannot be converted may not be the tensor's at all: that is known with the last piece."""
    spec = TensorSpec("weight", (8,), "F16")
    large = np.full(4, 1e30, dtype="<f4").view(np.uint8)

    def tensor(name: str) -> Iterator[NDArray[np.uint8]]:
        yield large
        yield large
        raise VerificationError(f"{name} is damaged")

    with pytest.raises(VerificationError, match="weight is damaged"):
        write_model(tmp_path, plan_model([spec]), tensor, {"weight": "F32"})
    with pytest.raises(UsageError, match="too large"):
        write_model(tmp_path, plan_model([spec]), lambda _: [large, large], {"weight": "F32"})


def test_without_the_compiled_loops_the_folder_is_the_same(
    run: FamilyRun, options: PullOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(FolderSource(run.run.root), "tiny-at", tmp_path / "compiled", options)

    def never(*_: object) -> None:
        raise AssertionError("a compiled loop was called")

    monkeypatch.setattr(loops, "_function", never)
    with native.disabled():
        pull(FolderSource(run.run.root), "tiny-at", tmp_path / "plain", options)
    for path in (tmp_path / "compiled").rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "plain" / path.name).read_bytes()


def test_chains_of_other_types_line_up_and_memory_holds_pieces_only(
    run: FamilyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float32 from bfloat16 from float32, in blocks of 1 KiB: each piece is of the same elements all the way."""
    for module in (coding, family_module):
        monkeypatch.setattr(module, "BLOCK", 1024)
    flat_P = tuned(run.run.models["0.1.1"])
    child = run.imports(save(tmp_path / "a", raw(flat_P, "BF16")), "tiny-a", run.trunk("0.1.1"))
    grandchild = run.imports(save(tmp_path / "b", raw(here_and_there(flat_P))), "tiny-b", child.manifest.ref)
    assert [tensor.depth for tensor in grandchild.manifest.tensors] == [2, 2]
    for done, path, most in ((child, "a", 1024), (grandchild, "b", 2048)):
        run.comes_back(done, tmp_path / path)
        family = run.family()
        for spec in SPACE.tensors:
            pieces = list(family.pieces(done.manifest.ref, spec.name))
            assert max(len(piece) for piece in pieces) == most
            assert all(np.shares_memory(pieces[0], piece) for piece in pieces)


def test_a_tensor_of_the_trunk_is_handed_on_as_it_was_compared(run: FamilyRun, tmp_path: Path) -> None:
    """Not as a view of a file that somebody may write to."""
    path = save(tmp_path / "one", raw(tuned(run.run.models["0.1.0"], only=FIRST)))
    done = run.imports(path, "tiny-one", run.trunk("0.1.0"))
    family = run.family()
    (piece,) = family.pieces(done.manifest.ref, SECOND)
    assert piece.flags.writeable
    assert not np.shares_memory(piece, family.read(run.trunk("0.1.0"), SECOND))


def test_another_base_than_the_one_that_fits(run: FamilyRun, tmp_path: Path) -> None:
    family = run.family()
    ref = family.ref("tiny-de", "0.1.0")
    family.manifest(ref)
    wrong = family._stored[ref][FIRST]
    assert wrong.base is not None
    changed = wrong.model_copy(update={"base": wrong.base.model_copy(update={"name": SECOND})})
    family._stored[ref] = {**family._stored[ref], FIRST: changed}
    with pytest.raises(VerificationError, match="2048 elements are built upon for 1200"):
        family.read(ref, FIRST)


def test_what_nobody_believed_is_not_doubted(run: FamilyRun, tmp_path: Path) -> None:
    blob = run.derived[0].manifest
    for believed in ([], [blob]):
        catalog = run.catalog()
        catalog.believe(believed)
        assert not catalog.doubt()
    catalog = run.catalog()
    catalog.believe([blob])
    altered(run.run.store.path(blob.digest), 5)
    assert catalog.has(blob)
    assert catalog.doubt()
    assert not catalog.doubt()
    assert not catalog.has(blob)
