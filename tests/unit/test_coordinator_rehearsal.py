"""What is said of a configuration before anybody trains for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from barnraise.cli import run
from barnraise.config import bundled_config, load_run_config
from barnraise.errors import ConfigValueError, UnknownStrategyError
from coordinator.conductor import merging
from coordinator.rehearsal import can_merge, require_mergeable
from merge import strategies
from merge.strategies.rule import MergesMatrices, Rows, UsesFisher
from simulator import tiny_config


def refused(reason: str, rounds: dict[str, Any] | None = None, **sections: Any) -> None:
    config = tiny_config(round={"target_updates": 9, "min_updates": 9, **(rounds or {})}, **sections)
    with pytest.raises((ConfigValueError, UnknownStrategyError), match=reason):
        require_mergeable(config)


@pytest.mark.parametrize("strategy", strategies.BUILT_IN, ids=lambda kind: kind.name)
def test_every_strategy_can_be_rehearsed(strategy: type[Any]) -> None:
    rule = strategy()
    if isinstance(rule, MergesMatrices):
        refused("barnraise merge --strategy", merge={"strategy": rule.name})
        return
    update = {"codec": {"name": "blockwise", "bits": 8}, "fisher": isinstance(rule, UsesFisher)}
    counts = [count for count in range(2, 12) if can_merge(tiny_config(merge={"strategy": rule.name}).merge, count)]
    assert counts, rule
    rounds = {"target_updates": counts[-1], "min_updates": counts[0]}
    require_mergeable(tiny_config(merge={"strategy": rule.name}, round=rounds, update=update))


def test_the_run_that_ships_can_be_merged() -> None:
    require_mergeable(load_run_config(bundled_config("stdlib-lm")))


def test_too_few_updates_for_strategy_and_what_comes_before_it() -> None:
    few = {"min_updates": 2}
    refused(
        r"needs at least 4 updates, .* is 2; raise it to 4",
        few,
        merge={"strategy": "trimmed-mean", "options": {"trim": 0.25}},
    )
    bucketing = [{"name": "bucketing", "options": {"size": 2}}]
    refused(
        r"trimmed-mean after bucketing needs at least 7 updates, and round.min_updates is 2; raise it to 7",
        few,
        merge={"strategy": "trimmed-mean", "options": {"trim": 0.25}, "before": bucketing},
    )


def test_names_that_do_not_exist_are_answered_with_those_that_do() -> None:
    refused("did you mean 'krum'", merge={"strategy": "krumm"})
    refused("did you mean 'trim'", merge={"strategy": "trimmed-mean", "options": {"trimm": 0.1}})
    refused("there are nnm, bucketing", merge={"before": [{"name": "mixing"}]})
    refused(r"set merge\.outer\.name", merge={"strategy": "fed-adam"})


@dataclass(frozen=True)
class Sure:
    """Uses Fishers."""

    name: ClassVar[str] = "sure"
    min_updates: int = 1

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        raise NotImplementedError

    def combine_with_fisher(self, deltas_KP: Rows, fishers_KP: Rows, weights_K: Tensor) -> Tensor:
        return torch.mul(deltas_KP[0], fishers_KP[0])


@dataclass(frozen=True)
class Matrices:
    """Wants the Gram matrices of what went into a layer."""

    name: ClassVar[str] = "matrices"
    min_updates: int = 1

    def combine(self, deltas_KP: Rows, weights_K: Tensor) -> Tensor:
        raise NotImplementedError

    def combine_matrices(self, deltas_KOI: Rows, grams_KII: Rows, weights_K: Tensor) -> Tensor:
        raise NotImplementedError


def test_what_no_update_brings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_fisher = {"codec": {"name": "blockwise", "bits": 8}, "fisher": True}
    refused(r"mean does not use it; remove update\.fisher", update=with_fisher)
    monkeypatch.setattr(merging, "make_strategy", lambda *_: Sure())
    refused(r"sure needs a Fisher .* set update\.fisher = true", merge={"strategy": "sure"})
    refused(r"remove merge\.before", update=with_fisher, merge={"strategy": "sure", "before": [{"name": "nnm"}]})
    require_mergeable(tiny_config(update=with_fisher, merge={"strategy": "sure"}))
    monkeypatch.setattr(merging, "make_strategy", lambda *_: Matrices())
    refused("barnraise merge --strategy matrices", merge={"strategy": "matrices"})


def test_serve_says_so_before_it_makes_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = bundled_config("stdlib-lm").read_text().replace('strategy = "mean"', 'strategy = "krumm"')
    (tmp_path / "run.toml").write_text(text)
    assert run(["serve", str(tmp_path / "run.toml"), "--run", str(tmp_path / "new")]) == UnknownStrategyError.exit_code
    assert "did you mean 'krum'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
