"""The example of docs/tasks.md, installed as somebody else's distribution: a whole round, and a task of its own."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from barnraise.config import RunConfig, parse_run_config
from barnraise.errors import ConfigValueError, UnknownStrategyError
from contributor.tasks import make_task
from coordinator.rehearsal import require_mergeable, require_testable
from merge.architectures import build, parameter_count, space_of
from simulator import Simulation

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
FILES = dict(re.findall(r"```\w+\n# ([\w.]+)\n(.*?)```", PAGE, re.DOTALL))

OWN_TASK = """
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from contributor.tasks import Loss
from merge.architectures import build


@dataclass(frozen=True)
class HalfSure:
    name: ClassVar[str] = "ones"
    unit: ClassVar[str] = "squared error"
    model: Any
    examples: bytes

    def module(self):
        return build(self.model)

    def batch(self, seed, step, size):
        rows = torch.frombuffer(bytearray(self.examples), dtype=torch.uint8).reshape(-1, 12)
        return {"rows": rows[torch.arange(size) % len(rows)]}

    def loss(self, module, batch):
        wanted = torch.nn.functional.one_hot(batch["rows"][:, -1].long(), 2).float()
        return Loss((module(batch["rows"][:, :-1]) - wanted).square().sum(), len(wanted))

    def tokens(self, examples):
        return examples
"""


def install(site: Path, name: str, modules: dict[str, str], offered: dict[str, dict[str, str]]) -> None:
    """A distribution as an installer leaves it."""
    for module, text in modules.items():
        (site / module).write_text(text)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in all_.items()) for group, all_ in offered.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(name="site")
def _site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example's distribution is installed; what it brought is forgotten afterwards."""
    site = tmp_path / "site"
    site.mkdir()
    offered = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"]
    install(site, "ones", {"ones.py": FILES["ones.py"]}, offered)
    monkeypatch.syspath_prepend(str(site))
    yield site
    for module in ("ones", "half_sure"):
        sys.modules.pop(module, None)


def example(**changes: Any) -> RunConfig:
    return parse_run_config({**tomllib.loads(FILES["run.toml"]), **changes}, source="docs/tasks.md")


def test_the_example_becomes_a_release(site: Path, tmp_path: Path) -> None:
    config = example()
    require_mergeable(config)
    require_testable(config)
    assert parameter_count(config.model) == space_of(build(config.model)).size
    simulation = Simulation(tmp_path / "run", config)
    for name, shard in (("ada", "zero"), ("grace", "one")):
        contributor = simulation.contributor(name, shard)
        lease = contributor.takes_lease()
        contributor.sends(lease, contributor.encoded(contributor.trained(config.training.steps)))
    simulation.runs_until("released")
    newest = simulation.ledger.newest_release()
    assert newest is not None
    assert newest.summary["right"]["mean"] > 0.6


def test_a_task_of_its_own_is_used_for_the_architecture_of_its_name(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = example()
    assert make_task(config.model, config.data, "zero").unit == "bits per answer"
    other = tmp_path / "other"
    other.mkdir()
    install(other, "half-sure", {"half_sure.py": OWN_TASK}, {"barnraise.tasks": {"ones": "half_sure:HalfSure"}})
    monkeypatch.syspath_prepend(str(other))
    task = make_task(config.model, config.data, "zero")
    assert task.unit == "squared error"
    loss = task.loss(task.module(), task.batch(0, 0, 4))
    assert loss.count == 4
    assert torch.isfinite(loss.total)


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    config = example()
    with pytest.raises(UnknownStrategyError, match="no architecture 'ones'"):
        build(config.model)
    with pytest.raises(ConfigValueError, match=r"no corpus 'ones'.*barnraise\.corpora"):
        make_task(config.model, config.data, "zero")


def test_a_corpus_that_breaks_is_named_with_its_error(site: Path) -> None:
    config = example(data={"corpus": "ones", "shards": {"zero": ["x"]}})
    with pytest.raises(ConfigValueError, match=r"corpus 'ones' of ones:Bits cannot be used: ValueError"):
        make_task(config.model, config.data, "zero")


def test_examples_of_another_length_are_refused(site: Path) -> None:
    model = {**tomllib.loads(FILES["run.toml"])["model"], "context": 1000}
    config = example(model=model)
    with pytest.raises(ConfigValueError, match="no examples of 1000"):
        make_task(config.model, config.data, "zero")
