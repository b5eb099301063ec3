"""Pulling a derived model: the same bytes in a folder that everybody can load, by way of any source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.cli import run as barnraise
from barnraise.errors import BarnraiseError, NoSuchVersionError, UsageError, VerificationError
from barnraise.releases.cache import Cache
from barnraise.releases.convert import Stored, narrow, widen
from barnraise.releases.derived.plan import DerivedPlan
from barnraise.releases.installed import Form, Installed
from barnraise.releases.load import load, load_model
from barnraise.releases.mirror import mirror
from barnraise.releases.pull import PullOptions, pull, would_pull
from barnraise.releases.source import FolderSource, ReleaseSource
from barnraise.releases.trust import TrustOptions
from barnraise.releases.verify import verify_derived, verify_folder
from barnraise.updates.space import TensorSpec
from family import FamilyRun, holds, raw, save, tuned
from published import SPACE

FIRST, SECOND = (spec.name for spec in SPACE.tensors)


@pytest.fixture
def run(tmp_path: Path) -> FamilyRun:
    """A trunk, a fine-tune in bfloat16 of it, and a fine-tune of that."""
    run = FamilyRun.at(tmp_path / "run", now=True)
    flat_P = tuned(run.run.models["0.1.2"])
    child = save(tmp_path / "child", raw(flat_P, "BF16"), config_dot_json='{"model_type": "toy"}', LICENSE="free\n")
    done = run.imports(child, "tiny-de", run.trunk("0.1.2"))
    grandchild = save(tmp_path / "grandchild", raw(tuned(flat_P, seed=5, only=SECOND), "BF16"), shard_bytes=3000)
    run.imports(grandchild, "tiny-at", done.manifest.ref)
    return run


@pytest.fixture
def options(tmp_path: Path) -> PullOptions:
    return PullOptions(trust=TrustOptions(home=tmp_path / "trust"), cache=Cache(tmp_path / "cache", 1 << 30))


@pytest.fixture(params=["run", "mirror"])
def source(request: pytest.FixtureRequest, run: FamilyRun, tmp_path: Path) -> Iterator[ReleaseSource]:
    if request.param == "mirror":
        mirror(FolderSource(run.run.root), tmp_path / "mirror")
        yield FolderSource(tmp_path / "mirror")
    else:
        yield FolderSource(run.run.root)


def test_what_is_pulled_is_what_was_imported(source: ReleaseSource, options: PullOptions, tmp_path: Path) -> None:
    for spec, original in (("tiny-de@0.1.0", "child"), ("tiny-at", "grandchild"), ("tiny-de@^0.1", "child")):
        done = pull(source, spec, tmp_path / "model", options)
        holds(tmp_path / "model", tmp_path / original)
        assert (done.name, done.version, done.changed) == (spec.split("@")[0], "0.1.0", True)
        again = pull(source, spec, tmp_path / "model", options)
        assert (again.changed, again.fetched_bytes) == (False, 0)
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == {"model_type": "toy"}
    assert (tmp_path / "model" / "LICENSE").read_text() == "free\n"
    with safe_open(str(tmp_path / "model" / "model.safetensors"), "np") as file:
        assert sorted(file.keys()) == [FIRST, SECOND]


def test_what_is_pulled_is_proven_from_its_folder_alone(
    source: ReleaseSource, options: PullOptions, tmp_path: Path
) -> None:
    pull(source, "tiny-at", tmp_path / "model", options)
    report = verify_folder(tmp_path / "model", options.trust)
    assert (report.name, report.version, report.promoted) == ("tiny-at", "0.1.0", False)
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(VerificationError, match="tensor"):
        verify_folder(tmp_path / "model", options.trust)


def test_another_models_proof_proves_nothing(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    for name in ("tiny-de", "tiny-at"):
        pull(FolderSource(run.run.root), name, tmp_path / name, options)
    release = json.loads((tmp_path / "tiny-de" / "release.json").read_text())
    (tmp_path / "tiny-de" / "release.json").write_text(json.dumps({**release, "name": "tiny-at"}))
    with pytest.raises(VerificationError):
        verify_folder(tmp_path / "tiny-de", options.trust)


def test_a_plan_is_shown_first_and_uses_what_is_at_hand(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    source = FolderSource(run.run.root)
    would = would_pull(source, "tiny-at", tmp_path / "model", options)
    assert isinstance(would.plan, DerivedPlan)
    assert not (tmp_path / "model").exists()
    words = "\n".join(would.plan.lines())
    assert "take the keyframe of 0.1.0" in words
    assert "apply the patch to 0.1.2" in words
    assert "decode 3 tensors of tiny-at 0.1.0" in words
    pull(source, "tiny-lm", tmp_path / "trunk", options)
    after = would_pull(source, "tiny-at", tmp_path / "model", options)
    assert after.plan.fetch_bytes < would.plan.fetch_bytes - 10_000
    done = pull(source, "tiny-at", tmp_path / "model", options)
    assert done.fetched_bytes == after.plan.fetch_bytes


def test_a_damaged_blob_of_any_link_installs_nothing(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    source = FolderSource(run.run.root)
    before = would_pull(source, "tiny-at", tmp_path / "model", options)
    for blob in before.plan.blobs:
        path = run.run.store.path(blob.digest)
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        shutil.rmtree(tmp_path / "cache")
        with pytest.raises(BarnraiseError):
            pull(source, "tiny-at", tmp_path / "model", options)
        assert not (tmp_path / "model").exists()
        path.write_bytes(whole)
    pull(source, "tiny-at", tmp_path / "model", options)
    holds(tmp_path / "model", tmp_path / "grandchild")


def test_names_and_wishes_that_cannot_be(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    source = FolderSource(run.run.root)
    with pytest.raises(NoSuchVersionError, match="tiny-de, tiny-at too"):
        pull(source, "tiny-fr", tmp_path / "model", options)
    with pytest.raises(NoSuchVersionError, match=r"0\.1\.0"):
        pull(source, "tiny-de@^0.2", tmp_path / "model", options)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_it_can_be_converted_on_the_way(run: FamilyRun, options: PullOptions, tmp_path: Path, dtype: Stored) -> None:
    """float32 holds bfloat16 exactly; float16 is what rounding that gives. Integers stay what they are."""
    tensors = raw(tuned(run.run.models["0.1.2"]), "BF16")
    tensors[TensorSpec("zz.steps", (3,), "I64")] = np.arange(24, dtype=np.uint8)
    path = save(tmp_path / "counting", tensors)
    run.imports(path, "tiny-no", run.trunk("0.1.2"))
    source, wanted = FolderSource(run.run.root), replace(options, form=Form(dtype))
    assert pull(source, "tiny-no", tmp_path / "model", options).changed
    assert pull(source, "tiny-no", tmp_path / "model", wanted).changed  # from as released to converted
    assert not pull(source, "tiny-no", tmp_path / "model", wanted).changed
    found, original = Checkpoint.open(tmp_path / "model"), Checkpoint.open(path)
    for name, tensor in original.tensors.items():
        expected = original.block(name, 0, tensor.size)
        if tensor.dtype == "BF16":
            expected = narrow(widen(expected, "BF16"), dtype)
        assert found.dtype(name) == (dtype if tensor.dtype == "BF16" else "I64")
        assert np.array_equal(found.block(name, 0, tensor.size), expected)
    assert sorted(Installed.read(tmp_path / "model").note.converted) == [FIRST, SECOND]
    assert verify_derived(source, tmp_path / "model", options.trust) == 3
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(VerificationError, match=f"is not what 0.1.0 gives when it is converted to {dtype}"):
        verify_derived(source, tmp_path / "model", options.trust)


def test_what_a_type_cannot_say_is_refused(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    big = run.imports(save(tmp_path / "big", raw(np.full(SPACE.size, 1e6, np.float32))), "big", run.trunk("0.1.2"))
    with pytest.raises(UsageError, match="too large"):
        pull(FolderSource(run.run.root), "big", tmp_path / "model", replace(options, form=Form("F16")))
    assert big.is_new
    assert not (tmp_path / "model").exists()


def test_loading_gives_its_tensors(run: FamilyRun, options: PullOptions, tmp_path: Path) -> None:
    pull(FolderSource(run.run.root), "tiny-de", tmp_path / "model", options)
    model = load_model(tmp_path / "model", "torch", None, verify=True)
    expected = Checkpoint.open(tmp_path / "child")
    for name in model:
        assert str(model[name].dtype) == "torch.bfloat16"
        bits = model[name].reshape(-1).view(__import__("torch").uint8).numpy()
        assert np.array_equal(bits, expected.block(name, 0, expected.tensors[name].size))
    with pytest.raises(UsageError, match="derived model"):
        load(tmp_path / "model")


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = barnraise(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_ls_and_show_tell_of_the_family(run: FamilyRun, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(run.run.root)
    code, out, _ = said(capsys, "ls", "--from", root)
    assert code == 0
    assert "tiny-at  0.1.0    tiny-de 0.1.0" in out
    code, out, _ = said(capsys, "ls", "--from", root, "--json")
    assert [entry["name"] for entry in json.loads(out)["result"]["derived"]] == ["tiny-de", "tiny-at"]
    code, out, _ = said(capsys, "show", "tiny-de@0.1.0", "--from", root)
    assert code == 0
    words = " ".join(out.split())  # wherever its lines break
    assert "comes from tiny-lm 0.1.2" in words
    assert "children tiny-at 0.1.0" in words
    assert "built upon 0.1.2 of the trunk" in words
    code, out, _ = said(capsys, "show", "tiny-at", "--from", root, "--json")
    result = json.loads(out)["result"]
    assert result["built_upon"] == ["0.1.2"]
    assert result["manifest"]["lineage"]["relation"] == "fine-tune"
    code, _, err = said(capsys, "show", "tiny-de@^3", "--from", root)
    assert code == 6
    assert "barnraise: " in err
