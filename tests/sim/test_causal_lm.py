"""A model of transformers from a folder to a tagged release that transformers loads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import barnraise
from barnraise.cli import run as command
from barnraise.config import load_run_config
from barnraise.errors import ConfigValueError
from barnraise.run_folder import RunFolder
from barnraise.updates import Update, apply_update, asked_carrier
from barnraise.updates.factors import Factors
from contributor.tasks import AtHand, make_task
from contributor.training.lora import LowRank
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit
from coordinator.rehearsal import require_testable
from coordinator.run_setup import prepare_run
from merge.architectures import load_flat
from merge.architectures.causal_lm import transformers_library
from simulator import Simulation, tiny_config
from tiny_models import LLAMA, saved_model

RUN = """
name = "words"
model = { from = "./begin", context = 32 }
training = { steps = 8, batch = 8, learning_rate = 5e-3 }
update = { codec = { name = "blockwise", bits = 8 } }
release = { codec = { name = "blockwise", bits = 8 } }
round = { target_updates = 2, min_updates = 2, collect_for_s = 60, lease_for_s = 60 }

[data]
held_out_percent = 30
shards = { text = ["json", "csv", "string", "textwrap"], tools = ["ast", "dis", "inspect", "tokenize"] }

[acceptance]
check_examples = 16
check_margin = 0.5
tests = [
    { name = "loss-text", kind = "loss", shard = "text", examples = 24, margin = 0.05 },
    { name = "ends", kind = "signature", options = { outputs = "logits float32 [B, T, 300]" } },
]
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunFolder]:
    """A run that was made from a folder with a bfloat16 model whose embedding is tied."""
    root = tmp_path_factory.mktemp("begun")
    saved_model(root / "begin")
    (root / "run.toml").write_text(RUN)
    folder = RunFolder(root / "run")
    require_testable(prepare_run(folder, root / "run.toml"))
    return root, folder


@pytest.fixture(scope="module")
def released(begun: tuple[Path, RunFolder]) -> Simulation:
    """That run after a round of two."""
    _, folder = begun
    simulation = Simulation.of(folder)
    simulation.contributor("ada", "text").delivers()
    simulation.contributor("grace", "tools").delivers()
    simulation.runs_until("released")
    return simulation


def test_the_first_release_is_the_checkpoint_and_the_next_one_is_better(
    begun: tuple[Path, RunFolder], released: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    library, (root, folder) = transformers_library(), begun
    barnraise.pull("words@0.1.0", into=tmp_path / "first", source=folder.root)
    barnraise.pull("words@0.1.1", into=tmp_path / "next", source=folder.root)
    asked = torch.arange(8)[None]
    logits = [
        library.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(input_ids=asked).logits
        for path in (root / "begin", tmp_path / "first", tmp_path / "next")
    ]
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[1], logits[2])
    tokenizer = library.AutoTokenizer.from_pretrained(tmp_path / "next")
    assert tokenizer("the barn")["input_ids"] == released_tokens(root)
    newest = released.ledger.newest_release()
    assert newest is not None
    assert newest.summary["loss-text"]["effect"] < -0.05
    assert newest.summary["loss-text"]["unit"] == "bits/byte"
    weights = barnraise.load(tmp_path / "next")
    assert "lm_head.weight" not in weights  # tied to the embedding, and stored once


def released_tokens(root: Path) -> list[int]:
    from tokenizers import Tokenizer

    return list(Tokenizer.from_file(str(root / "begin" / "tokenizer.json")).encode("the barn").ids)


def test_what_was_taken_over_does_not_need_its_folder_any_more(begun: tuple[Path, RunFolder]) -> None:
    root, folder = begun
    (root / "begin").rename(root / "gone")
    try:
        config = prepare_run(folder, None)
        assert config == load_run_config(folder.config)
        assert config.model.start is not None  # type: ignore[union-attr]
    finally:
        (root / "gone").rename(root / "begin")


def test_a_run_goes_on_from_the_same_checkpoint_and_from_no_other(begun: tuple[Path, RunFolder]) -> None:
    root, folder = begun
    prepare_run(folder, root / "run.toml")
    (root / "begin").rename(root / "kept")
    try:
        saved_model(root / "begin", {**LLAMA, "hidden_size": 32})
        with pytest.raises(ConfigValueError, match=r"the file has another \[model\]"):
            prepare_run(folder, root / "run.toml")
    finally:
        (root / "begin").rename(root / "other")
        (root / "kept").rename(root / "begin")


def test_without_a_folder_a_token_is_a_byte(tmp_path: Path) -> None:
    config = tiny_config(model={"architecture": "causal-lm", "config": LLAMA, "context": 32})
    simulation = Simulation(tmp_path, config)
    for name in ("ada", "barbara", "grace"):
        simulation.contributor(name).delivers()
    simulation.runs_until("released")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert newest.summary["loss-text"]["effect"] < 0
    assert np.isfinite(simulation.desk.models.verified(newest.model_digest)).all()


# transformers has another name for a property that peft's own class of models asks for
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_factors_are_merged_as_changes_and_are_an_adapter_of_their_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import peft

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    update = {"codec": {"name": "blockwise", "bits": 8}, "lora": {"rank": 4, "alpha": 8}, "train": ["*_proj.weight"]}
    untied = {**LLAMA, "tie_word_embeddings": False}
    config = tiny_config(model={"architecture": "causal-lm", "config": untied, "context": 32}, update=update)
    simulation = Simulation(tmp_path / "run", config)
    sent = [trains_factors(simulation, name, seed) for seed, name in enumerate(("ada", "barbara", "grace"))]
    simulation.runs_until("released")
    barnraise.pull("tiny@0.1.0", into=tmp_path / "base", source=tmp_path / "run")
    (tmp_path / "one.update").write_bytes(sent[0])
    said = [str(tmp_path / "one.update"), str(tmp_path / "adapter"), "--base", str(tmp_path / "base")]
    assert command(["adapter", *said]) == 0
    assert "rank 4 for 7 layers of tiny 0.1.0" in capsys.readouterr().out
    assert command(["adapter", *said]) == 2
    assert "is there already" in capsys.readouterr().err

    library, asked = transformers_library(), torch.arange(8)[None]
    base = library.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    space, flat_P = simulation.desk.space, simulation.desk.models.verified(sole_base(simulation))
    changed = library.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    load_flat(changed, space, apply_update(flat_P, Update.parse(sent[0], space, base_digest=None)))
    plain = base(input_ids=asked).logits
    adapted = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")(input_ids=asked).logits
    assert torch.allclose(adapted, changed(input_ids=asked).logits, atol=1e-6)
    assert not torch.allclose(adapted, plain, atol=1e-4)


def sole_base(simulation: Simulation) -> str:
    first = simulation.ledger.release("0.1.0")
    assert first is not None
    return first.model_digest


def trains_factors(simulation: Simulation, name: str, seed: int) -> bytes:
    """A unit as a node trains it; the update that was sent."""
    config, contributor = simulation.config, simulation.contributor(name)
    lease_id = contributor.takes_lease()
    space, base = simulation.desk.space, simulation.ledger.head()
    assert base is not None
    carrier = asked_carrier(space, config.update)
    assert isinstance(carrier, Factors)
    what = LowRank(carrier, config.update.lora.scale if config.update.lora else 1.0, seed)
    task = make_task(config.model, config.data, "text", AtHand(seed, simulation.side, simulation.own))
    training = config.training.model_copy(update={"steps": 8, "learning_rate": 2e-2})
    base_P = np.array(simulation.desk.models.verified(base.model_digest))
    trainer = Trainer(Unit(task, space, base_P, training, seed, what=what), torch.device("cpu"))
    while not trainer.done:
        trainer.step()
    wanted = Wanted(space, base.model_digest, config.update.codec, carrier, what)
    data = finish_unit(wanted, trainer.change()).data
    contributor.sends(lease_id, data)
    return data


def test_a_folder_that_cannot_be_begun_from_says_why(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(RUN)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ConfigValueError, match=r"begin/config.json cannot be read"):
        prepare_run(folder, tmp_path / "run.toml")
    saved_model(tmp_path / "begin")
    (tmp_path / "begin" / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(ConfigValueError, match=r"has no tokenizer\.json"):
        prepare_run(folder, tmp_path / "run.toml")
    (tmp_path / "begin" / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigValueError, match=r"tokenizer\.json cannot be read"):
        prepare_run(folder, tmp_path / "run.toml")
    (tmp_path / "tokenizer.json").rename(tmp_path / "begin" / "tokenizer.json")
    (tmp_path / "begin" / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ConfigValueError, match=r"begin cannot be loaded by transformers \d"):
        prepare_run(folder, tmp_path / "run.toml")
    assert not folder.ledger.exists()
