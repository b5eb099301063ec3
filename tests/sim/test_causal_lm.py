"""A model of transformers from a folder to a tagged release that transformers loads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import barnraise
from barnraise.config import load_run_config
from barnraise.errors import ConfigValueError
from barnraise.run_folder import RunFolder
from coordinator.rehearsal import require_testable
from coordinator.run_setup import prepare_run
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
