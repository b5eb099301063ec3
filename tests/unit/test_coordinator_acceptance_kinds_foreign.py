"""Kinds that let other software in: functions of installed distributions, the harness, folders of other models."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import planted
from barnraise.errors import AcceptanceError, MissingExtraError, NotACheckpointError
from barnraise.model_config import ByteLMConfig
from barnraise.suite import LookConfig
from coordinator.acceptance.asking.offline import VARIABLES, offline
from coordinator.acceptance.examples import NOTHING, Examples
from coordinator.acceptance.kinds import make_kind
from coordinator.acceptance.kinds.lm_eval import TASKS_VARIABLE, values_of
from coordinator.acceptance.measuring import measure, measurement
from coordinator.acceptance.models.folder_subject import PROBE, open_folder
from coordinator.acceptance.models.subject import ByteSubject

ROWS = Examples("b3:rows", None, ({"text": "one"}, {"text": "three"}))
SOURCE = """
def lengths(subject, rows, *, factor=1.0):
    return [factor * len(row["text"]) for row in rows] or [float(subject.context)]

def few(subject, rows): return [1.0]
def none(subject, rows): return []
def nan(subject, rows): return [0.5, float("nan")]
def words(subject, rows): return ["1", "2"]
def nothing(subject, rows): return None
def broken(subject, rows): raise KeyError("no such colour")
"""


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that is installed, and offers its functions as tests."""
    names = ["lengths", "few", "none", "nan", "words", "nothing", "broken"]
    entries = "\n".join(f"{name} = offered_tests:{name}" for name in names) + "\ngone = offered_tests:gone\n"
    (tmp_path / "offered_tests.py").write_text(SOURCE)
    _distribution(tmp_path, "offered-tests", "1.4", entries)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "offered_tests", raising=False)
    return tmp_path


def _distribution(folder: Path, name: str, version: str, entries: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[barnraise.acceptance]\n{entries}")


def python(entry: str, **options: float | str) -> LookConfig:
    return LookConfig(name="x", kind="python", data="d", direction="higher", options={"entry": entry, **options})


# -- functions of installed distributions --------------------------------------------------


@pytest.mark.usefixtures("offered")
def test_a_function_gets_model_lines_and_options() -> None:
    subject = planted.untaught()
    assert measure(subject, python("lengths"), ROWS).values_N.tolist() == [3.0, 5.0]
    assert measure(subject, python("lengths", factor=2), ROWS).values_N.tolist() == [6.0, 10.0]
    assert measure(subject, python("lengths"), NOTHING).values_N.tolist() == [40.0]


def test_its_numbers_are_in_its_own_unit_and_direction() -> None:
    look = LookConfig(name="x", kind="python", data="d", direction="lower", options={"entry": "e", "unit": "errors"})
    metric = make_kind(look).metric
    assert (metric.unit, metric.higher_is_better) == ("errors", False)
    with pytest.raises(AcceptanceError, match="give the test a direction"):
        make_kind(LookConfig(name="x", kind="python", data="d", options={"entry": "e"}))
    with pytest.raises(AcceptanceError, match=r"name of an entry point in the group barnraise\.acceptance"):
        make_kind(LookConfig(name="x", kind="python", data="d", direction="lower"))


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("broken", r"\(offered_tests:broken\) raised KeyError: 'no such colour'; ask its author"),
        ("gone", "raised AttributeError"),
        ("few", "returned 1 values, 1 of them numbers; expected 2"),
        ("none", "returned 0 values"),
        ("words", "returned 2 values, 0 of them numbers"),
        ("nan", "returned 1 values of 2 that are not finite"),
        ("nothing", "returned NoneType that holds no numbers"),
        ("lenghts", "no installed distribution offers a test 'lenghts' .*did you mean 'lengths'"),
        ("os:system", "no installed distribution offers a test 'os:system'"),
    ],
)
def test_what_goes_wrong_in_it_is_told(entry: str, says: str) -> None:
    with pytest.raises(AcceptanceError, match=says):
        measure(planted.untaught(), python(entry), ROWS)


def test_two_that_offer_the_same_test_are_named(offered: Path) -> None:
    _distribution(offered, "other-tests", "2.0", "lengths = elsewhere:lengths\n")
    with pytest.raises(AcceptanceError, match="offered-tests and other-tests both offer the test 'lengths'"):
        measure(planted.untaught(), python("lengths"), ROWS)


def test_another_version_of_it_is_another_measurement(offered: Path) -> None:
    first = measurement("b3:model", python("lengths"), ROWS)
    assert first == measurement("b3:model", python("lengths"), ROWS)
    (offered / "offered_tests-1.4.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: offered-tests\nVersion: 1.5\n"
    )
    assert first != measurement("b3:model", python("lengths"), ROWS)
    assert first != measurement("b3:model", python("lengths", factor=2), ROWS)


@pytest.mark.parametrize("reserved", ["direction", "passed_on"])
def test_a_key_of_the_test_is_no_option(reserved: str) -> None:
    with pytest.raises(AcceptanceError, match=f"{reserved} is no option"):
        make_kind(python("lengths", **{reserved: "lower"}))


# -- the harness ---------------------------------------------------------------------------


def harness(**options: float | str) -> LookConfig:
    return LookConfig(name="x", kind="lm-eval", data="d", direction="higher", options={"task": "t", **options})


def test_without_the_harness_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(AcceptanceError, match=r"needs lm_eval, which is not installed.*barnraise\[eval\]"):
        measure(planted.untaught(), harness(), ROWS)


@pytest.mark.parametrize("task", ["../tasks", "a/b", "task.yaml", "", "a\\b"])
def test_a_task_is_a_name_and_never_a_path(task: str) -> None:
    with pytest.raises(AcceptanceError, match="expected the name of a task, not a path"):
        make_kind(harness(task=task))


def test_the_folder_of_tasks_is_part_of_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.4")
    plain = measurement("b3:model", harness(), ROWS)
    monkeypatch.setenv(TASKS_VARIABLE, str(tmp_path))
    (tmp_path / "t.yaml").write_text("task: t\n")
    first = measurement("b3:model", harness(), ROWS)
    (tmp_path / "t.yaml").write_text("task: t2\n")
    assert len({plain, first, measurement("b3:model", harness(), ROWS)}) == 3
    monkeypatch.setenv(TASKS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(AcceptanceError, match="which is no folder"):
        measurement("b3:model", harness(), ROWS)


def test_one_number_of_each_document_is_taken() -> None:
    samples: list[dict[str, Any]] = [
        {"acc": 1.0, "ppl": (0.5, 3), "metrics": ["acc", "ppl"]},
        {"acc": np.float64(0), "ppl": (0.1, 1), "metrics": ["acc", "ppl"]},
    ]
    assert values_of(samples, "acc", "t") == [1.0, 0.0]
    with pytest.raises(AcceptanceError, match="no number 'ppl' for each document; those that are one are acc"):
        values_of(samples, "ppl", "t")
    with pytest.raises(AcceptanceError, match="no document"):
        values_of([], "acc", "t")


# -- offline -------------------------------------------------------------------------------


def _are_offline(constants: Any) -> int:
    """0, which the caller divides by."""
    assert [os.environ[name] for name in VARIABLES] == ["1"] * len(VARIABLES)
    assert constants.HF_HUB_OFFLINE
    return 0


def test_others_are_offline_for_as_long_as_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = ModuleType("huggingface_hub.constants")
    constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    monkeypatch.setenv(VARIABLES[0], "0")
    monkeypatch.delenv(VARIABLES[1], raising=False)
    with pytest.raises(ZeroDivisionError), offline():
        assert 1 / _are_offline(constants) == 0
    assert not constants.HF_HUB_OFFLINE
    assert os.environ[VARIABLES[0]] == "0"
    assert VARIABLES[1] not in os.environ


# -- models that cannot be loaded ----------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"weight": np.zeros((4, 2), dtype=np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "tiny"}))
    return tmp_path


class FakeTokenizer:
    """Bytes as Latin-1, after a token that begins every text."""

    bos_token_id = 300
    eos_token_id = 301
    model_max_length = 10**30
    lossy = False

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [self.bos_token_id, *text.encode()]}

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return list((text.lower() if self.lossy else text).encode())

    def decode(self, tokens: list[int], **_: object) -> str:
        return bytes(token for token in tokens if token < 256).decode(errors="replace")


def fake_transformers(monkeypatch: pytest.MonkeyPatch, tokenizer: FakeTokenizer, asked: list[dict[str, Any]]) -> None:
    class Model:
        config = ModuleType("config")

        @staticmethod
        def from_pretrained(folder: Path, **how: Any) -> Model:
            asked.append(how)
            return Model()

        def eval(self) -> Model:
            return self

        def __call__(self, input_ids: torch.Tensor, **_: object) -> Any:
            found = ModuleType("output")
            found.logits = torch.zeros(*input_ids.shape, 302, dtype=torch.float64)  # type: ignore[attr-defined]
            return found

    class Tokenizers:
        @staticmethod
        def from_pretrained(folder: Path, **how: Any) -> FakeTokenizer:
            asked.append(how)
            return tokenizer

    module = ModuleType("transformers")
    module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    module.AutoModelForCausalLM, module.AutoTokenizer = Model, Tokenizers  # type: ignore[attr-defined]
    Model.config.max_position_embeddings = 16  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)


def test_a_folder_is_read_from_local_files_and_runs_no_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    fake_transformers(monkeypatch, FakeTokenizer(), asked)
    subject = open_folder(folder)
    assert all(how["local_files_only"] and how["trust_remote_code"] is False for how in asked)
    assert asked[0]["use_safetensors"] is True
    assert (subject.context, subject.size_bytes, subject.end) == (16, 32, 301)
    assert subject.encode(b"ab") == [300, 97, 98]
    assert subject.decode([300, 97, 98]) == b"ab"
    assert subject.signature.outputs["logits"] == ("float64", ("B", "T", 302))
    assert subject.logits(torch.zeros(1, 2, dtype=torch.int64)).dtype == torch.float32
    assert subject.digest.startswith("b3:")


def test_a_first_token_that_is_no_text_is_not_counted_as_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a beginning of its own a model predicts every byte; guessing 302 tokens costs log2 of that for each."""
    fake_transformers(monkeypatch, FakeTokenizer(), [])
    look = LookConfig(name="x", kind="loss", data="d")
    found = measure(open_folder(folder), look, ROWS).values_N
    assert found.tolist() == pytest.approx([np.log2(302)] * 2)


def test_a_tokeniser_that_loses_text_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = FakeTokenizer()
    tokenizer.lossy = True
    fake_transformers(monkeypatch, tokenizer, [])
    with pytest.raises(AcceptanceError, match="only models whose tokeniser keeps all text"):
        open_folder(folder)
    assert PROBE.lower() != PROBE


def test_a_folder_that_cannot_be_loaded_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_transformers(monkeypatch, FakeTokenizer(), [])
    monkeypatch.delattr(sys.modules["transformers"], "AutoTokenizer")
    with pytest.raises(AcceptanceError, match=r"cannot be loaded as a causal language model: AttributeError"):
        open_folder(folder)


def test_without_transformers_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs transformers.*barnraise\[eval\]"):
        open_folder(folder)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(NotACheckpointError, match="pickled and never read here"):
        open_folder(tmp_path)


def test_parameters_of_another_architecture_cannot_be_loaded() -> None:
    space, flat_P = planted.taught(planted.KNOWN + planted.HARMLESS)
    other = ByteLMConfig(dim=32, layers=2, heads=2, hidden=64, context=40)
    with pytest.raises(AcceptanceError, match="the model cannot be loaded: byte-lm as it is described has"):
        ByteSubject(flat_P, other, space).logits(torch.zeros(1, 1, dtype=torch.int64))
