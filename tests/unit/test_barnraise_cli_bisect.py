"""``barnraise bisect``: the release and the update that broke a test, from the run's folder and from a mirror."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.cli import run
from barnraise.clock import now_ms
from barnraise.errors import VerificationError
from barnraise.releases.convert import Stored, narrow
from barnraise.updates.space import TensorSpec
from commands import answered
from coordinator.acceptance.blame.ancestry import Ancestry
from coordinator.acceptance.models.subject import Subject
from family import save
from simulator import Simulation, tiny_config

STRICT = """
name = "strict"
[[tests]]
name = "text"
kind = "loss"
shard = "text"
examples = 24
margin = 0.5
[[tests]]
name = "small"
kind = "size"
options = { limit_bytes = 1 }
"""
ROUND = {"target_updates": 3, "min_updates": 1, "collect_for_s": 60, "settle_for_s": 5, "lease_for_s": 60}
LOSS = {"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 60.0}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, str]:
    """A run whose own tests let everything pass, and the digest of what broke it in 0.1.3."""
    config = tiny_config(
        round=ROUND,
        merge={"clip_norm_at": 1e6},
        acceptance={"check_examples": 16, "check_margin": 60.0, "tests": [LOSS]},
    )
    simulation = Simulation(tmp_path_factory.mktemp("run"), config, now_ms=now_ms())
    for number in range(1, 5):
        simulation.ticks()
        if number == 3:
            poison = simulation.contributor("mallory").delivers(lambda delta_P: np.float32(-200) * delta_P)
        for name in ("ada", "grace") if number == 3 else ("ada", "grace", "barbara"):
            simulation.contributor(name).delivers(lambda delta_P, number=number: np.float32(1 / number) * delta_P)
        simulation.runs_until_tagged(f"0.1.{number}")
    simulation.ticks(2)
    return simulation, poison


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "strict.toml"
    path.write_text(STRICT)
    return str(path)


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return answered(capsys, "bisect", *argv)[1]


def test_the_release_then_the_update_are_found(
    lived: tuple[Simulation, str], suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, poison = lived
    before = simulation.ledger.last_seq()
    found = told(capsys, f"{suite}::text", "--from", str(simulation.folder.root))
    assert (found["good"], found["bad"], found["first_bad"]) == ("0.1.0", "0.1.4", "0.1.3")
    assert found["edges"] == [["0.1.2", "0.1.3"]]
    assert [row["answer"] for row in found["tested"]] == ["bad", "good", "bad"]
    assert found["inherited"] is None
    assert found["blamed"]["culprits"] == [poison]
    assert found["blamed"]["proofs"] == [{"update": poison, "fails": 3, "passes": 2}]
    assert found["blamed"]["trials"] <= 4
    assert simulation.ledger.last_seq() == before


def test_the_words_fit_a_terminal_and_say_who(
    lived: tuple[Simulation, str], suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, poison = lived
    assert run(["bisect", f"{suite}::text", "0.1.1..0.1.3", "--from", str(simulation.folder.root)]) == 0
    captured = capsys.readouterr()
    assert max(len(line) for line in captured.out.splitlines()) <= 80
    said = " ".join(captured.out.split())
    assert "0.1.3 is the first bad one; what it was made from, 0.1.2, is good" in said
    assert f"{poison[3:13]}: with it 3 updates are bad, without it 2 are good" in said
    assert "0.1.3: bad: " in captured.err


def test_a_mirror_names_the_updates_and_their_contributors(
    lived: tuple[Simulation, str], suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, poison = lived
    mirror = tmp_path / "mirror"
    shutil.copytree(simulation.folder.public, mirror)
    assert run(["bisect", f"{suite}::text", "..0.1.4", "--from", str(mirror)]) == 0
    captured = capsys.readouterr()
    assert max(len(line) for line in captured.out.splitlines()) <= 80
    assert "only the folder of the run" in " ".join(captured.out.split())
    assert f"    {poison[3:13]} by " in captured.out
    assert "windows of held-out text were drawn here" in captured.err
    found = told(capsys, f"{suite}::text", "..0.1.4", "--from", str(mirror), "--releases-only")
    assert found["first_bad"] == "0.1.3"
    assert found["blamed"] is None
    assert len(found["release"]["updates"]) == 3


def test_a_release_that_cannot_be_tested_is_passed_over(
    lived: tuple[Simulation, str], suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, _ = lived
    whole = Ancestry.subject

    def subject(self: Ancestry, node: str) -> Subject:
        if node == "0.1.2":
            raise VerificationError("0.1.2 cannot be read")
        return whole(self, node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ancestry, "subject", subject)
        found = told(capsys, f"{suite}::text", "0.1.0..0.1.4", "--from", str(simulation.folder.root))
    assert {row["model"]: row["answer"] for row in found["tested"]}["0.1.2"] == "untestable"
    assert (found["first_bad"], found["untestable"]) == ("0.1.3", ["0.1.2"])
    assert found["blamed"] is None
    assert "may also have come with 0.1.2" in found["not_blamed"]


# -- fine-tunes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def family(lived: tuple[Simulation, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that run with fine-tunes of its releases, and of each other."""
    simulation, _ = lived
    root = tmp_path_factory.mktemp("family") / "run"
    shutil.copytree(simulation.folder.root, root)

    def imports(name: str, parent: str, version: str, scale: float, dtype: Stored = "F32", extra: int = 0) -> None:
        row = simulation.ledger.release(version)
        assert row is not None
        simulation.desk.ensure_model(row, simulation.ledger.releases())
        flat_P = np.array(simulation.desk.models.verified(row.model_digest))
        noise_P = np.random.default_rng(len(name)).standard_normal(flat_P.size, dtype=np.float32)
        views = simulation.desk.space.unflatten(flat_P + np.float32(scale) * noise_P)
        tensors = {
            TensorSpec(spec.name, spec.shape, dtype): np.array(narrow(views[spec.name].reshape(-1), dtype))
            for spec in simulation.desk.space.tensors
        }
        for number in range(extra):
            tensors[TensorSpec(f"adapter.{number}", (4,), "F32")] = np.zeros(16, dtype=np.uint8)
        folder = save(root.parent / name, tensors)
        assert run(["import", str(folder), "--parent", parent, "--as", name, "--run", str(root)]) == 0

    imports("tiny-csv", "tiny@0.1.3", "0.1.3", 1e-5)
    imports("tiny-csv-half", "tiny-csv@0.1.0", "0.1.3", 1e-5, "BF16")
    imports("tiny-wild", "tiny@0.1.2", "0.1.2", 30.0)
    imports("tiny-mild", "tiny@0.1.2", "0.1.2", 1e-5)
    imports("tiny-wide", "tiny@0.1.2", "0.1.2", 1e-5, extra=1)
    imports("tiny-again", "tiny-wide@0.1.0", "0.1.2", 30.0)
    return root


def test_whether_a_fault_was_inherited_from_upstream(
    family: Path, suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, f"{suite}::text", "..tiny-csv-half@^0.1", "--from", str(family))
    assert (found["first_bad"], found["inherited"]) == ("0.1.3", True)
    assert found["edges"] == [["0.1.2", "0.1.3"]]
    assert len(found["blamed"]["culprits"]) == 1, "the update upstream that it was"
    own = told(capsys, f"{suite}::text", "0.1.1..tiny-wild@0.1.0", "--from", str(family))
    assert (own["first_bad"], own["inherited"]) == ("tiny-wild@0.1.0", False)
    assert own["edges"] == [["0.1.2", "tiny-wild@0.1.0"]]
    assert own["release"] is None
    assert run(["bisect", f"{suite}::text", "..tiny-csv@0.1.0", "--from", str(family)]) == 0
    assert "inherited  yes, from 0.1.3" in capsys.readouterr().out


def test_a_fine_tune_of_another_shape_is_passed_over(
    family: Path, suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, f"{suite}::text", "..tiny-again@0.1.0", "--from", str(family))
    answers = {row["model"]: row["answer"] for row in found["tested"]}
    assert answers["tiny-wide@0.1.0"] == "untestable"
    assert (found["first_bad"], found["untestable"]) == ("tiny-again@0.1.0", ["tiny-wide@0.1.0"])
    assert found["inherited"] is None, "nobody knows"
    mild = told(capsys, f"{suite}::text", "..tiny-mild@0.1.0", "--from", str(family))
    assert "as good as 0.1.0" in mild["reason"]
    wide = told(capsys, f"{suite}::text", "..tiny-wide@0.1.0", "--from", str(family))
    assert "cannot be tested" in wide["reason"]
    assert "adapter.0" in wide["reason"]
    aside = told(capsys, f"{suite}::text", "0.1.4..tiny-wild@0.1.0", "--from", str(family))
    assert "was not made from 0.1.4" in aside["reason"]


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ("0.1.2..0.1.2", "is both ends"),
        ("0.1.3..0.1.1", "the good end comes first: 0.1.1..0.1.3"),
        ("0.1.0..0.1.2", "0.1.2 is as good as 0.1.0, so there is nothing to look for"),
        ("0.1.0", "is no range"),
        ("0.1.0..0.1.9", "0.1.9"),
    ],
)
def test_ends_between_which_there_is_nothing_to_find(
    lived: tuple[Simulation, str], suite: str, capsys: pytest.CaptureFixture[str], ends: str, reason: str
) -> None:
    simulation, _ = lived
    assert reason in told(capsys, f"{suite}::text", ends, "--from", str(simulation.folder.root))["reason"]


def test_tests_that_are_not_there(
    lived: tuple[Simulation, str], suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, _ = lived
    place = str(simulation.folder.root)
    assert "names no test" in told(capsys, "loss-text", "--from", place)["reason"]
    assert "there are loss-text" in told(capsys, "::text", "--from", place)["reason"]
    assert "there are text" in told(capsys, f"{suite}::loss-text", "--from", place)["reason"]
    own = told(capsys, "::loss-text", "--from", place)
    assert "is as good as" in own["reason"], "the run's own test let it pass"
