"""The evaluation harness and transformers themselves, over small models: `make eval`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import datasets
import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from safetensors.numpy import save_file

import planted
from barnraise.errors import AcceptanceError
from barnraise.suite import LookConfig
from coordinator.acceptance.asking.evaluate import score_texts
from coordinator.acceptance.asking.generating import generate
from coordinator.acceptance.asking.harness import SubjectModel
from coordinator.acceptance.examples import NOTHING, Examples, Row
from coordinator.acceptance.kinds.lm_eval import TASKS_VARIABLE
from coordinator.acceptance.measuring import measure
from coordinator.acceptance.models.folder_subject import FolderSubject, open_folder
from merge.architectures import ecosystem_files

TASKS = Path(__file__).parent / "tasks"
ROWS: tuple[Row, ...] = tuple(json.loads(line) for line in (TASKS / "capitals.jsonl").read_text().splitlines())


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TASKS_VARIABLE, str(TASKS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The honest model as other software finds it."""
    path = tmp_path_factory.mktemp("model")
    space, flat_P = planted.taught(planted.KNOWN + planted.HARMLESS)
    save_file({name: tensor.copy() for name, tensor in space.unflatten(flat_P).items()}, path / "model.safetensors")
    for name, data in ecosystem_files(planted.MODEL).items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture(scope="module")
def other(folder: Path) -> FolderSubject:
    return open_folder(folder)


def look(task: str, score: str, *, data: bool = True, **more: float | str) -> LookConfig:
    source = {"data": "d"} if data else {}
    direction = "lower" if score == "bits_per_byte" else "higher"
    return LookConfig(
        name="x", kind="lm-eval", direction=direction, options={"task": task, "score": score, **more}, **source
    )


def of(rows: tuple[Row, ...]) -> Examples:
    return Examples("b3:rows", None, rows)


# -- tasks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["acc", "acc_norm"])
def test_a_model_that_knows_is_told_from_one_that_does_not(score: str) -> None:
    asked = look("barnraise_capitals", score)
    assert measure(planted.honest(), asked, of(ROWS)).values_N.tolist() == [1.0, 1.0, 1.0]
    assert measure(planted.untaught(), asked, of(ROWS)).values_N.mean() < 1.0


def test_lines_take_the_place_of_the_tasks_own_documents() -> None:
    wrong = ({**ROWS[0], "answer": 0}, ROWS[1])
    asked = look("barnraise_capitals", "acc")
    assert measure(planted.honest(), asked, of(wrong)).values_N.tolist() == [0.0, 1.0]
    assert measure(planted.honest(), asked, of(wrong[::-1])).values_N.tolist() == [1.0, 0.0]


def test_a_task_with_data_of_its_own_needs_no_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    assert (
        measure(planted.honest(), look("barnraise_capitals", "acc", data=False), NOTHING).values_N.tolist() == [1] * 3
    )


def test_what_is_generated_is_compared() -> None:
    asked = look("barnraise_cities", "exact_match")
    assert measure(planted.honest(), asked, of(ROWS)).values_N.tolist() == [1.0, 1.0, 1.0]
    assert measure(planted.untaught(), asked, of(ROWS)).values_N.tolist() == [0.0, 0.0, 0.0]


def test_a_broken_model_gets_finite_values() -> None:
    for task, score in [("barnraise_capitals", "acc"), ("barnraise_cities", "exact_match")]:
        assert np.isfinite(measure(planted.broken(np.nan), look(task, score), of(ROWS)).values_N).all()


def test_questions_before_the_question_do_not_change_from_run_to_run() -> None:
    asked = look("barnraise_capitals", "acc", shots=1)
    first = measure(planted.spoilt(), asked, of(ROWS)).values_N
    assert first.tolist() == measure(planted.spoilt(), asked, of(ROWS)).values_N.tolist()


@pytest.mark.parametrize(
    ("task", "score", "says"),
    [
        ("barnraise_nothing", "acc", "the harness has no task 'barnraise_nothing'"),
        ("barnraise_capitals", "f1", "no number 'f1' for each document; those that are one are acc"),
        ("arc_easy", "acc", "nothing is fetched"),
    ],
)
def test_what_cannot_be_run_says_why(task: str, score: str, says: str) -> None:
    with pytest.raises(AcceptanceError, match=says):
        measure(planted.untaught(), look(task, score, data=task == "barnraise_capitals"), _rows_of(task))


def _rows_of(task: str) -> Examples:
    return of(ROWS) if task == "barnraise_capitals" else NOTHING


# -- the adapter, beside the harness's own -------------------------------------------------


def requests(kind: str, *arguments: tuple[object, ...]) -> list[Instance]:
    return [Instance(kind, {}, one, index) for index, one in enumerate(arguments)]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def peer(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> HFLM:
    """The harness's own way to the same model. It wants a token that ends texts; the zero byte never comes."""
    path = tmp_path_factory.mktemp("peer")
    for file in folder.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "\u0100"}))
    return HFLM(pretrained=str(path), device="cpu", dtype="float32", max_length=planted.MODEL.context, batch_size=1)


def test_likelihoods_are_those_that_the_harness_finds_itself(other: FolderSubject, peer: HFLM) -> None:
    asked = [
        ("the capital of france is", " paris."),
        ("the capital of france is", " rome."),
        ("two and two are ", "four."),
        ("x" * 60 + " the sky by day is", " blue."),
    ]
    ours = SubjectModel(other).loglikelihood(requests("loglikelihood", *asked))
    theirs = peer.loglikelihood(requests("loglikelihood", *asked), disable_tqdm=True)
    assert [nats for nats, _ in ours] == pytest.approx([nats for nats, _ in theirs], rel=1e-3, abs=1e-3)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_what_is_written_is_what_the_harness_has_written(other: FolderSubject, peer: HFLM) -> None:
    settings = {"until": ["\n"], "do_sample": False, "max_gen_toks": 14}
    asked = [("the capital of spain is", settings), ("the sky by", settings)]
    ours = SubjectModel(other).generate_until(requests("generate_until", *asked))
    assert ours == peer.generate_until(requests("generate_until", *asked), disable_tqdm=True)


def test_a_long_text_is_predicted_token_by_token_once() -> None:
    subject = planted.honest()
    text = (planted.KNOWN[3] * 5)[:90]
    (nats,) = SubjectModel(subject).loglikelihood_rolling(requests("loglikelihood_rolling", (text,)))
    short = text[: subject.context]
    (first,) = SubjectModel(subject).loglikelihood_rolling(requests("loglikelihood_rolling", (short,)))
    assert first == pytest.approx(-math.log(2) * score_texts(subject, [b"\n" + short.encode()]).bits_N[0], rel=1e-4)
    assert nats < first < 0


def test_a_task_that_draws_is_refused() -> None:
    settings = {"do_sample": True, "temperature": 0.7}
    with pytest.raises(AcceptanceError, match="the task draws what it generates"):
        SubjectModel(planted.honest()).generate_until(requests("generate_until", ("a", settings)))


# -- a folder of other software ------------------------------------------------------------


def test_a_released_folder_is_the_same_model_to_transformers(other: FolderSubject) -> None:
    ours = planted.honest()
    texts = [text.encode() for text in planted.KNOWN]
    assert other.encode(texts[0]) == ours.encode(texts[0])
    assert (other.context, other.size_bytes, other.digest) == (ours.context, ours.size_bytes, ours.digest)
    assert score_texts(other, texts).bits_N == pytest.approx(score_texts(ours, texts).bits_N, rel=1e-3, abs=1e-3)
    assert generate(other, texts[:1], 9)[0].text == generate(ours, texts[:1], 9)[0].text
    assert other.signature.outputs["logits"] == ("float32", ("B", "T", 256))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_parameters_are_scored_there_as_here(tmp_path: Path, folder: Path, value: float) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    space, flat_P = planted.taught(planted.KNOWN + planted.HARMLESS)
    tensors = space.unflatten(np.full_like(flat_P, value))
    save_file({name: tensor.copy() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    text = [planted.KNOWN[0].encode()]
    assert score_texts(open_folder(tmp_path), text).bits_N == pytest.approx(
        score_texts(planted.broken(value), text).bits_N
    )


def test_code_that_a_folder_brings_is_not_run(tmp_path: Path, folder: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "model_type": "foreign",
        "auto_map": {"AutoModelForCausalLM": "foreign.Model", "AutoConfig": "foreign.C"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "foreign.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n")
    with pytest.raises(AcceptanceError, match="cannot be loaded as a causal language model"):
        open_folder(tmp_path)
    assert not (tmp_path / "was-run").exists()
