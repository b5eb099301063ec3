"""Tasks: examples that follow from seed and step, losses that add up, and modules that the trunk's tests know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.config import TrainingConfig, bundled_config, load_run_config
from barnraise.data_config import StdlibData
from barnraise.digest import digest_bytes
from barnraise.digits import all_digits
from barnraise.errors import ConfigValueError, VerificationError
from barnraise.model_config import ByteLMConfig, ForeignConfig
from barnraise.tokenizer import Tokenizer
from barnraise.updates.factors import Factors
from barnraise.updates.part import Part
from contributor.tasks import AtHand, Batch, Task, make_task
from contributor.tasks.answering import AnsweringTask
from contributor.tasks.byte_lm import ByteLMTask
from contributor.tasks.causal_lm import CausalLMTask
from contributor.training.lora import LowRank
from contributor.training.trainer import Trainer, Unit
from merge.architectures import ecosystem_files, flat_of, space_of
from tiny_models import GPT2, LLAMA, causal

TEXT = b"every byte of a text is a token, unless somebody says otherwise\n" * 4
DIGITS = load_run_config(bundled_config("digits"))


def bytewise(config: dict[str, Any] | None = None) -> CausalLMTask:
    model = causal(config)
    return CausalLMTask(model, Tokenizer.of(ecosystem_files(model)), TEXT)


def tasks() -> dict[str, Task]:
    pictures = b"".join(row.tobytes() for row in all_digits()[:40])
    return {
        "byte-lm": ByteLMTask(ByteLMConfig(dim=16, layers=1, heads=2, hidden=24, context=12), TEXT),
        "causal-lm": bytewise(),
        "image-classification": AnsweringTask(DIGITS.model, pictures),
    }


@pytest.fixture(scope="module", name="every")
def _every() -> dict[str, Task]:
    return tasks()


def parts(batch: Batch, first: int) -> tuple[Batch, Batch]:
    return {name: rows[:first] for name, rows in batch.items()}, {name: rows[first:] for name, rows in batch.items()}


def test_names_and_units(every: dict[str, Task]) -> None:
    assert {task.name: task.unit for task in every.values()} == {
        "byte-lm": "bits per byte",
        "causal-lm": "bits per token",
        "image-classification": "bits per answer",
    }


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**48 - 1), step=st.integers(0, 1000), size=st.integers(2, 6))
def test_examples_follow_from_seed_and_step(every: dict[str, Task], seed: int, step: int, size: int) -> None:
    for task in every.values():
        one, other = task.batch(seed, step, size), task.batch(seed, step, size)
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert all(len(rows) == size for rows in one.values())
        later = task.batch(seed, step + 1, 64)
        assert not all(torch.equal(task.batch(seed, step, 64)[name], later[name]) for name in later)


def test_the_loss_of_a_batch_is_that_of_its_parts(every: dict[str, Task]) -> None:
    for task in every.values():
        module, batch = task.module(), task.batch(1, 2, 5)
        whole = task.loss(module, batch)
        two = [task.loss(module, part) for part in parts(batch, 2)]
        assert whole.count == sum(part.count for part in two) == task.tokens(5)
        assert float(whole.total.detach()) == pytest.approx(sum(float(part.total.detach()) for part in two), rel=1e-5)


def test_a_guess_costs_what_guessing_costs(every: dict[str, Task]) -> None:
    for name, answers in (("byte-lm", 256), ("causal-lm", 256)):
        task = every[name]
        loss = task.loss(task.module(), task.batch(0, 0, 8))
        assert float(loss.total.detach()) / loss.count == pytest.approx(np.log(answers), abs=0.2)


@pytest.mark.parametrize("name", ["causal-lm", "image-classification"])
def test_training_lowers_the_loss_and_goes_on_with_the_same_bits(every: dict[str, Task], name: str) -> None:
    task = every[name]
    module = task.module()
    space = space_of(module)
    unit = Unit(task, space, flat_of(module, space), TrainingConfig(steps=12, batch=8, learning_rate=1e-2), seed=5)
    whole, begun = Trainer(unit, torch.device("cpu")), Trainer(unit, torch.device("cpu"))
    while not whole.done:
        whole.step()
    for _ in range(5):
        begun.step()
    resumed = Trainer(unit, torch.device("cpu"))
    resumed.restore(begun.progress())
    while not resumed.done:
        resumed.step()
    assert np.array_equal(whole.trained(), resumed.trained())
    assert np.mean(whole.losses[-4:]) < np.mean(whole.losses[:4])


@pytest.mark.parametrize("config", [LLAMA, GPT2])
def test_factors_of_any_matrices_of_transformers_can_be_trained(config: dict[str, Any]) -> None:
    task = bytewise(config)
    module = task.module()
    space = space_of(module)
    part = Part.of(space, ("*mlp*.weight",))
    assert part is not None
    trains = LowRank(Factors(part, 2))
    training = TrainingConfig(steps=8, batch=8, learning_rate=3e-2)
    unit = Unit(task, space, flat_of(module, space), training, 5, None, trains)
    trainer = Trainer(unit, torch.device("cpu"))
    while not trainer.done:
        trainer.step()
    assert np.mean(trainer.losses[-3:]) < np.mean(trainer.losses[:3])
    assert np.any(trainer.change())


def test_dropout_is_off_so_that_a_unit_can_be_continued() -> None:
    task = bytewise({**GPT2, "resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5})
    module, batch = task.module().train(), task.batch(0, 0, 4)
    losses = {float(task.loss(module, batch).total.detach()) for _ in range(3)}
    assert len(losses) == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ByteLMTask(ByteLMConfig(context=256), b"short"), "has 5 bytes of text, a window needs 257"),
        (lambda: CausalLMTask(causal(), Tokenizer.of(ecosystem_files(causal())), b"short"), "5 tokens, and a window"),
        (lambda: AnsweringTask(DIGITS.model, b"\0" * 64), "64 bytes, which are no examples of 65"),
        (lambda: AnsweringTask(DIGITS.model, b""), "0 bytes, which are no examples"),
        (lambda: AnsweringTask(ByteLMConfig(), b"x" * 257), "trains byte-lm, for which this Barnraise has no task"),
    ],
)
def test_data_that_does_not_fit_is_named(make: Any, said: str) -> None:
    with pytest.raises(ConfigValueError, match=said):
        make()


def test_a_tokeniser_that_the_manifest_does_not_name_is_not_trained_with() -> None:
    files = ecosystem_files(causal())
    named = {name: digest_bytes(files[name]) for name in ("tokenizer.json", "tokenizer_config.json")}
    model, data = causal(files=named), StdlibData(shards={"text": ("json",)})
    for side, said in ((lambda _: None, "missing"), (lambda _: b"{}", r"b3:\w+\.\., its")):
        with pytest.raises(VerificationError, match=said):
            make_task(model, data, "text", AtHand(0, side))
    assert make_task(model, data, "text", AtHand(0, files.get)).name == "causal-lm"


def test_an_architecture_that_is_not_here_is_named() -> None:
    model = ForeignConfig(architecture="elsewhere", context=4)
    with pytest.raises(Exception, match="no architecture 'elsewhere'"):
        make_task(model, StdlibData(shards={"text": ("json",)}), "text")


def test_a_token_is_a_byte_without_a_tokeniser_and_text_comes_back() -> None:
    tokenizer = Tokenizer.of(ecosystem_files(causal()))
    text = "caf\u00e9 \x01\x7f \U0001f528\n".encode()
    assert tokenizer.encode(text) == list(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert (tokenizer.vocabulary, tokenizer.end, tokenizer.before) == (256, None, [])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"has no tokenizer\.json"),
        ({"tokenizer.json": b"{"}, r"tokenizer\.json cannot be read"),
        ({"tokenizer.json": b"\xff"}, r"tokenizer\.json cannot be read"),
    ],
)
def test_a_tokeniser_that_cannot_be_read_is_named(files: dict[str, bytes], said: str) -> None:
    with pytest.raises(ConfigValueError, match=said):
        Tokenizer.of(files)


def test_a_tokeniser_that_loses_text_is_refused() -> None:
    from tokenizers import Tokenizer as Made
    from tokenizers import models, pre_tokenizers

    made = Made(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ConfigValueError, match="keeps all text"):
        Tokenizer.of({"tokenizer.json": made.to_str().encode()})
