"""``barnraise demo`` plays the file that is made for it, with units of seconds, unless another one is named."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from barnraise.cli.demo import demo
from barnraise.config import bundled_config
from barnraise.demo.play import DemoPlan
from barnraise.errors import AcceptanceError


@pytest.mark.parametrize("named", [None, Path("other.toml")])
def test_the_demo_plays_its_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: Path | None) -> None:
    played: list[DemoPlan] = []

    def play(plan: DemoPlan, _screen: object) -> NoReturn:
        played.append(plan)
        raise AcceptanceError("that is enough")

    monkeypatch.setattr("barnraise.demo.play.play", play)
    monkeypatch.setattr("barnraise.process.interrupt_on_sigterm", lambda: None)
    with pytest.raises(AcceptanceError, match="that is enough"):
        demo(tmp_path / "run", None, named, as_json=True)
    assert [plan.config for plan in played] == [named or bundled_config("stdlib-lm", "demo")]
