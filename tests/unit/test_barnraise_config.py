"""Configurations that cannot be right are refused by class, with the file, the key and a way on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from barnraise.config import bundled_config, load_run_config
from barnraise.errors import BarnraiseError, ConfigMissingError, ConfigUnknownKeyError, ConfigValueError

GOOD = """
name = "toy"
[data.shards]
text = ["json"]
[[acceptance.tests]]
name = "loss-text"
kind = "loss"
shard = "text"
margin = 0.05
"""


@pytest.mark.parametrize("kind", ["runs", "demo"])
def test_every_bundled_run_is_good(kind: Literal["runs", "demo"]) -> None:
    bundled = sorted(bundled_config("stdlib-lm", kind).parent.glob("*.toml"))
    assert [load_run_config(path).name for path in bundled] == [path.stem for path in bundled]


def test_the_demo_plays_the_shipped_run_with_short_units_and_elements_in_turn() -> None:
    whole, short = (load_run_config(bundled_config("stdlib-lm", kind)) for kind in ("runs", "demo"))
    assert short.training.steps < whole.training.steps // 4
    assert short.update.turns == short.release.turns == 8
    assert short.update.residual_decay == 0, "what waits is asked for again"
    sent = {name: getattr(whole.update, name) for name in ("codec", "turns", "residual_decay")}
    stored = {name: getattr(whole.release, name) for name in ("codec", "turns")}
    same = short.model_copy(
        update={
            "training": short.training.model_copy(update={"steps": whole.training.steps}),
            "update": short.update.model_copy(update=sent),
            "release": short.release.model_copy(update=stored),
            "merge": short.merge.model_copy(update={"outer": whole.merge.outer}),
        }
    )
    assert same == whole


@pytest.mark.parametrize(
    ("text", "refusal", "words"),
    [
        (GOOD + "[gateway]\nprot = 1\n", ConfigUnknownKeyError, "unknown key 'gateway.prot'; did you mean 'port'?"),
        (GOOD + "[surprise]\n", ConfigUnknownKeyError, "unknown key 'surprise'"),
        (GOOD + "extra = 1\n", ConfigUnknownKeyError, "extra"),
        (GOOD + "[gateway]\nport = 65536\n", ConfigValueError, "gateway.port"),
        (GOOD + "[merge]\nclip_norm_at = nan\n", ConfigValueError, "merge.clip_norm_at"),
        (GOOD + "[model]\nheads = 3\n", ConfigValueError, "multiple of 2 * heads"),
        (GOOD + "[round]\nmin_updates = 9\n", ConfigValueError, "min_updates is larger"),
        (
            GOOD + "[round]\nmax_rounds = 40\n[schedule]\nfalls_from = 41\n",
            ConfigValueError,
            "schedule.falls_from 41 is after the last round, round.max_rounds 40, so the rate would never fall",
        ),
        (GOOD + "[release]\nturns = 3\ncodec = {name = 'dense'}\n", ConfigValueError, "release.turns"),
        (GOOD + "[release]\nturns = 8\n", ConfigValueError, "codec topk would say again where values lie"),
        (
            GOOD + "[release]\nturns = 8\ncodec = {name = 'dense'}\n[update]\ntrain = ['a']\n",
            ConfigValueError,
            "release.turns are of all elements of the model, and update.train lets only some of them change",
        ),
        (GOOD.replace("toy", "../toy"), ConfigValueError, "name"),
        (GOOD.replace('shard = "text"', 'shard = "no"'), ConfigValueError, "no shard 'no'; there are text"),
        ("name = ", ConfigValueError, "not TOML"),
        ("name = " + "[" * 100_000, ConfigValueError, "not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, refusal: type[BarnraiseError], words: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(refusal) as caught:
        load_run_config(path)
    assert str(path) in caught.value.reason
    assert words in caught.value.reason
    assert caught.value.exit_code == 3


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xff\x00")
    with pytest.raises(ConfigValueError, match="not UTF-8"):
        load_run_config(path)


@pytest.mark.parametrize("name", ["nothing.toml", ".", "file/below.toml"])
def test_a_missing_configuration_names_one_that_exists(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigMissingError, match="A ready-made one") as caught:
        load_run_config(tmp_path / name)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("falls_from", "most"), [(40, "max_rounds = 40"), (41, "")], ids=["last round", "no last round"]
)
def test_a_rate_may_fall_in_any_round_that_comes(tmp_path: Path, falls_from: int, most: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(GOOD + f"[round]\n{most}\n[schedule]\nfalls_from = {falls_from}\n")
    assert load_run_config(path).schedule.falls_from == falls_from


@pytest.mark.parametrize(
    ("said", "decay"),
    [
        ("", 0.9),
        ("turns = 8", 0.0),
        ("turns = 8\nresidual_decay = 0.5", 0.5),
        ("residual_decay = 0.5\nturns = 8", 0.5),
    ],
)
def test_elements_in_turn_bring_no_error_feedback_unless_it_is_asked_for(
    tmp_path: Path, said: str, decay: float
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(GOOD + f"[update]\ncodec = {{name = 'blockwise', bits = 1}}\n{said}\n")
    assert load_run_config(path).update.residual_decay == decay
