"""``barnraise merge``: files in, files out, a recipe that makes them again, and every error by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from barnraise.checkpoints import Checkpoint, DigestedCheckpoint
from barnraise.checkpoints.recipe import load_recipe
from barnraise.cli import run
from barnraise.cli.merge_progress import _Lines

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_attention_heads": 2, "dtype": "float32"}
Told = Callable[..., tuple[int, dict[str, Any]]]


def values(seed: int) -> dict[str, Any]:
    draws = np.random.default_rng(seed)
    return {
        "embed.weight": draws.standard_normal((7, 4), dtype=np.float32),
        "layers.0.mlp.weight": draws.standard_normal((6, 4), dtype=np.float32),
        "layers.0.norm": draws.standard_normal(4, dtype=np.float32),
        "steps": np.array(3, dtype=np.int64),
    }


def model(folder: Path, seed: int, config: dict[str, Any] | None = None, **changes: Any) -> Path:
    folder.mkdir()
    tensors = {**values(seed), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    return folder


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base and two models made from it, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("base", "a", "b")):
        model(tmp_path / name, seed)
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja", "modeling.py", "model.bin"):
        (tmp_path / "base" / name).write_text(name)
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def tell(*argv: str) -> tuple[int, dict[str, Any]]:
        code = run(["merge", *argv, "--json"])
        out, err = capsys.readouterr()
        assert err == ""
        assert out.count("\n") == 1
        return code, json.loads(out)

    return tell


def refused(told: Told, reason: str, *argv: str, code: str = "") -> None:
    """The command fails with this reason, in one line, and leaves nothing."""
    before = sorted(str(path) for path in Path().rglob("*"))
    exit_code, envelope = told(*argv)
    assert exit_code > 1
    assert reason in envelope["error"]["reason"]
    assert code in envelope["error"]["code"]
    assert sorted(str(path) for path in Path().rglob("*")) == before


TWO = ("--strategy", "ties", "base", "a", "b", "--into", "out")


def test_the_mean_of_two(told: Told) -> None:
    _, envelope = told(
        "--strategy", "mean", "--no-base", "a", "b", "--into", "out", "--weight", "a=0.25", "--weight", "b=0.75"
    )
    found = load_file("out/model.safetensors")
    a, b = values(1), values(2)
    for name in ("embed.weight", "layers.0.norm"):
        assert np.array_equal(found[name], a[name] * np.float32(0.25) + b[name] * np.float32(0.75))
    assert found["steps"] == 3
    assert envelope["result"]["digest"] == DigestedCheckpoint(Checkpoint.open(Path("out"))).digest()


def test_what_lies_in_the_folder(told: Told) -> None:
    code, envelope = told(*TWO)
    assert code == 0
    names = {"model.safetensors", "merge.toml", "config.json", *envelope["result"]["files"]}
    assert {path.name for path in Path("out").iterdir()} == names
    assert names & {"tokenizer.json", "modeling.py", "model.bin"} == {"tokenizer.json"}
    assert (Path("out/config.json")).read_bytes() == Path("base/config.json").read_bytes()


@pytest.mark.parametrize(
    "argv",
    [
        (*TWO, "--option", "density=0.5", "--seed", "4"),
        ("--strategy", "dare", "base", "a", "b", "--into", "out", "--dtype", "bf16", "--seed", "4"),
        ("--strategy", "mean", "--no-base", "a/model.safetensors", "b", "--into", "out", "--weight", "1,3"),
    ],
)
def test_a_recipe_makes_the_same_again(told: Told, argv: tuple[str, ...]) -> None:
    assert told(*argv)[0] == 0
    assert told("--recipe", "out/merge.toml", "--into", "deep/again")[0] == 0
    for name in ("model.safetensors", "config.json"):
        if (Path("out") / name).exists():
            assert (Path("deep/again") / name).read_bytes() == (Path("out") / name).read_bytes()
    first, second = load_recipe(Path("out/merge.toml")), load_recipe(Path("deep/again/merge.toml"))
    assert first.result == second.result
    assert [m.digest for m in first.models] == [m.digest for m in second.models]
    assert second.models[1].path == "../../b"


def test_a_recipe_whose_models_moved(told: Told) -> None:
    told(*TWO)
    for name in ("base", "a", "b"):
        Path(name).rename(f"moved-{name}")
    refused(told, "there is no", "--recipe", "out/merge.toml", "--into", "again")
    refused(told, "has 3, its base first", "--recipe", "out/merge.toml", "moved-a", "--into", "again")
    places = ("moved-base", "moved-a", "moved-b")
    assert told("--recipe", "out/merge.toml", *places, "--into", "again")[0] == 0
    swapped = ("moved-base", "moved-b", "moved-a")
    refused(told, "the recipe says", "--recipe", "out/merge.toml", *swapped, "--into", "no", code="changed-checkpoint")


def test_a_result_that_is_not_what_the_recipe_says(told: Told) -> None:
    told(*TWO)
    text = Path("out/merge.toml").read_text()
    result = load_recipe(Path("out/merge.toml")).result
    assert result is not None
    Path("out/merge.toml").write_text(text.replace(result, "b3:" + "0" * 64))
    refused(told, "the result is", "--recipe", "out/merge.toml", "--into", "again", code="changed-checkpoint")


def test_overrides_in_a_recipe(told: Told) -> None:
    Path("my.toml").write_text(
        """
        strategy = "mean"
        [base]
        path = "base"
        [[models]]
        name = "a"
        path = "a"
        [[models]]
        name = "b"
        path = "b"
        [[override]]
        tensors = "embed.*"
        take = "b"
        [[override]]
        tensors = ["*.norm"]
        weights = {a = 0.0}
        """
    )
    model(Path("wide"), 2, **{"embed.weight": np.ones((9, 4), np.float32)})
    Path("b").rename("narrow")
    Path("wide").rename("b")
    assert told("--recipe", "my.toml", "--into", "out")[0] == 0
    found = load_file("out/model.safetensors")
    base, b = values(0), values(2)
    assert np.array_equal(found["embed.weight"], np.ones((9, 4)))
    assert np.array_equal(found["layers.0.norm"], base["layers.0.norm"] + (b["layers.0.norm"] - base["layers.0.norm"]))


def test_types_and_shards(told: Told) -> None:
    assert told(*TWO, "--dtype", "f16", "--shard-size", "40B")[0] == 0
    opened = Checkpoint.open(Path("out"))
    assert {tensor.dtype for tensor in opened.tensors.values()} == {"F16", "I64"}
    assert len(opened.files) == 3
    assert json.loads(Path("out/config.json").read_text())["dtype"] == "float16"
    assert json.loads(Path("out/model.safetensors.index.json").read_text())["metadata"]["total_size"] == 2 * 56 + 8


def test_a_dry_run_writes_nothing(told: Told) -> None:
    before = sorted(Path().rglob("*"))
    code, envelope = told(*TWO, "--dry-run")
    assert (code, envelope["result"]["changed"]) == (0, False)
    assert envelope["result"]["disk_bytes"] > 224
    assert sorted(Path().rglob("*")) == before


def test_the_same_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b").rename("c")
    shutil.copytree("a", "b")
    (Path("b") / "tokenizer.json").write_text("another")
    assert run(["merge", *TWO, "a"]) == 0
    out, err = capsys.readouterr()
    assert "ties of 3 models against a base: 3 tensors with 56 parameters, 1 of other types carried over" in out
    assert "again: barnraise merge --recipe out/merge.toml --into DIR" in out
    assert "warning: a#2 is the same model as a" in err
    assert "warning: b has another tokenizer.json than base" in err
    assert "merging: 100%" in err


def test_an_earlier_merge_is_replaced_and_nothing_else(told: Told) -> None:
    assert told(*TWO, "--shard-size", "40")[0] == 0
    assert told(*TWO)[0] == 0
    assert not list(Path("out").glob("model-*"))
    Path("out/notes.txt").write_text("mine")
    refused(told, "'notes.txt'", *TWO)
    refused(told, "is an input", *TWO[:-1], "a")


def test_side_files(told: Told) -> None:
    argv = ("--strategy", "fisher", "--no-base", "a", "b", "--into", "out")
    refused(told, "--fisher a=FILE", *argv)
    one = {name: np.ones_like(value) for name, value in values(0).items() if name != "steps"}
    save_file(one, "f1.safetensors")
    save_file({name: 3 * value for name, value in one.items()}, "f2.safetensors")
    files = ("--fisher", "a=f1.safetensors", "--fisher", "b=f2.safetensors")
    assert told(*argv, *files)[0] == 0
    expected = values(1)["embed.weight"] * 0.25 + values(2)["embed.weight"] * 0.75
    assert np.allclose(load_file("out/model.safetensors")["embed.weight"], expected)
    assert told("--recipe", "out/merge.toml", "--into", "again")[0] == 0
    save_file({name: 2 * value for name, value in one.items()}, "f2.safetensors")
    refused(told, "the fisher file of b is", "--recipe", "out/merge.toml", "--into", "more", code="changed-checkpoint")
    save_file({"embed.weight": np.ones((7, 4))}, "f1.safetensors")
    refused(told, "no fitting tensor for", *argv, *files)
    save_file({"embed.weight": np.eye(3, dtype=np.float32)}, "g.safetensors")
    argv = ("--strategy", "regmean", "--no-base", "a", "b", "--into", "out2")
    refused(told, "fit no weight: 'embed.weight'", *argv, "--gram", "a=g.safetensors", "--gram", "b=g.safetensors")
    save_file({"embed.weight": np.eye(4, dtype=np.float32)}, "g.safetensors")
    assert told(*argv, "--gram", "a=g.safetensors", "--gram", "b=g.safetensors")[0] == 0


@pytest.mark.parametrize(
    ("argv", "reason", "code"),
    [
        ((), "which strategy?", "usage"),
        (("--strategy", "ties", "base"), "expected a base and models", "usage"),
        (("--strategy", "mean", "--no-base"), "expected models", "usage"),
        (("--strategy", "tiess", "base", "a"), "did you mean 'ties'?", "unknown-strategy"),
        (("--strategy", "ties", "base", "a", "--option", "densty=1"), "did you mean 'density'?", "unknown-strategy"),
        (("--strategy", "ties", "base", "a", "--option", "density"), "KEY=VALUE", "usage"),
        (("--strategy", "ties", "--no-base", "a", "b"), "leave out --no-base", "usage"),
        (("--strategy", "mean", "base", "a", "--weight", "c=1"), "names 'c', the models are a", "usage"),
        (("--strategy", "mean", "base", "a", "--weight", "a=1", "--weight", "a=2"), "twice", "usage"),
        (("--strategy", "mean", "base", "a", "--weight", "1,2"), "2 weights for 1 models", "usage"),
        (("--strategy", "mean", "base", "a", "--weight", "x"), "no number", "usage"),
        (("--strategy", "mean", "base", "a", "--weight", "-1"), "0 or more", "usage"),
        (("--strategy", "mean", "base", "a", "--weight", "0"), "all 0", "config-value"),
        (("--strategy", "mean", "base", "a", "--dtype", "f8"), "dtype", "config-value"),
        (("--strategy", "mean", "base", "a", "--shard-size", "5XB"), "such as 5GB", "usage"),
        (("--strategy", "mean", "base", "nowhere"), "there is no nowhere", "not-a-checkpoint"),
        (("--recipe", "no.toml"), "is not a file", "config-missing"),
        (("--recipe", "base/config.json"), "is not TOML", "config-value"),
        (("--recipe", "no.toml", "--seed", "0"), "--seed and --recipe", "usage"),
    ],
)
def test_wrong_arguments(told: Told, argv: tuple[str, ...], reason: str, code: str) -> None:
    refused(told, reason, *argv, "--into", "out", code=code)


NARROW = np.zeros((7, 3), np.float32)


@pytest.mark.parametrize(
    ("config", "changes", "reason"),
    [
        ({"model_type": "gpt2"}, {}, "another architecture than base: model_type is gpt2, expected llama"),
        ({"num_attention_heads": 4}, {}, "num_attention_heads is 4, expected 2"),
        ({}, {"embed.weight": NARROW}, "'embed.weight' is [7, 3], expected [7, 4]"),
        ({}, {"embed.weight": None}, "it lacks 'embed.weight'"),
        ({}, {"extra": NARROW}, "it has 'extra' too many"),
        ({}, {"steps": np.array(4)}, "tensor 'steps' is I64, which is carried over"),
        ({}, {"layers.0.norm": np.zeros(4)}, "is F64 in c and F32 elsewhere"),
        ({}, {"layers.0.norm": np.full(4, np.nan, np.float32)}, "'layers.0.norm' of c has a NaN"),
    ],
)
def test_models_that_do_not_fit(told: Told, config: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    model(Path("c"), 3, config, **changes)
    refused(told, reason, "--strategy", "mean", "base", "a", "c", "--into", "out", code="checkpoint")


def test_a_disk_that_fills_up_leaves_nothing(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("barnraise.checkpoints.write._write_at", full)
    refused(told, "no space left", *TWO, code="disk-full")


def test_a_disk_that_is_too_small(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barnraise.checkpoints.install.free_bytes", lambda _: 1000)
    refused(told, "has 1,000; nothing was written", *TWO, code="disk-full")


def test_ctrl_c_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("barnraise.checkpoints.write.CheckpointWriter.put", interrupted)
    before = sorted(Path().rglob("*"))
    assert run(["merge", *TWO, "--json"]) == 130
    assert sorted(Path().rglob("*")) == before


def test_lines_of_progress_come_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _Lines(1000)
    for _ in range(100):
        lines.advance(10)
    told_lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told_lines] == [f"merging: {tenth}0%" for tenth in range(1, 11)]
