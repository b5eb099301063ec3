"""From what somebody types to a suite that was run: which suite, which models, which examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from barnraise.config import RunConfig, load_run_config
from barnraise.errors import ConfigMissingError, NoSuchVersionError, UsageError
from barnraise.releases.source import ReleaseSource, open_source
from barnraise.run_folder import RunFolder
from barnraise.sections import bundled, read_toml
from barnraise.suite import SuiteConfig, find_suite, load_suite_config
from coordinator.acceptance.models.contenders import Finder, Settled
from coordinator.acceptance.run_suite import RunOptions, SuiteRun, run_suite
from coordinator.acceptance.supply import HeldOutSource, Supply, drawn_here, no_windows, of_folder, of_run

__all__ = ["Asked", "Trial", "prepare"]


@dataclass(frozen=True)
class Asked:
    """What somebody wants to know.

    Attributes:
        suite: a TOML file, the name of a shipped one, or the folder of a run. model, against: names, see contenders.py.
        source: where releases come from, as it was named; None: as ``usual`` finds it. trust: of the run there.
    """

    suite: str
    model: str
    against: str | None
    source: str | None
    trust: str | None
    usual: Callable[[], ReleaseSource]


@dataclass(frozen=True)
class Trial:
    """A suite with two models and its examples, ready to be run.

    Attributes:
        label: how the suite is named. base: None where there is nothing to compare with.
        notes: what a reader of the result should know.
    """

    label: str
    suite: SuiteConfig
    candidate: Settled
    base: Settled | None
    supply: Supply
    notes: tuple[str, ...]

    def run(self, options: RunOptions, threads: int) -> SuiteRun:
        """Measure and judge; see :func:`~coordinator.acceptance.run_suite.run_suite`.

        Args:
            threads: of this process's torch; as many as a coordinator's workers have (1) for the same last bits.
        """
        torch.set_num_threads(threads)
        base = self.base.contender if self.base is not None else None
        return run_suite(self.suite, self.candidate.contender, base, self.supply.of, options)


@dataclass(frozen=True)
class _Suite:
    """A suite that was found. ``run``: the folder of its run; ``config``: the run whose file it stands in."""

    label: str
    suite: SuiteConfig
    folder: Path
    run: RunFolder | None = None
    config: RunConfig | None = None


def prepare(asked: Asked, tell: Callable[[str], None]) -> Trial:
    """Find everything that a suite needs; models are loaded, nothing is measured.

    Args:
        tell: gets a line before something takes long.

    Raises:
        UsageError: a name that leads nowhere.
        BarnraiseError: a suite or a model that cannot be read.
    """
    found = _find_suite(asked.suite)
    finder = Finder(lambda: _source(asked, found), asked.trust, tell)
    against = finder.find(asked.against) if asked.against is not None else None
    candidate = finder.find(asked.model, against)
    base, why_none = (against, "") if against is not None else _parent(finder, candidate, asked)
    supply = _supply(found, [one for one in (candidate, base) if one is not None])
    notes = tuple(note for note in (why_none, supply.held_out.note) if note)
    return Trial(found.label, found.suite, candidate, base, supply, notes)


def _source(asked: Asked, found: _Suite) -> ReleaseSource:
    if asked.source is not None or found.run is None:
        return asked.usual()
    return open_source(str(found.run.root))


def _parent(finder: Finder, candidate: Settled, asked: Asked) -> tuple[Settled | None, str]:
    """The release that the candidate changes, and why there is none."""
    if candidate.parent is None and candidate.made_from is None:
        return None, f"{candidate.contender.label} names no parent; compare it with another model by --against"
    try:
        return finder.parent(candidate), ""
    except (UsageError, NoSuchVersionError) as error:
        if asked.source is not None:
            raise
        return None, f"its parent is not at hand: {error}"


def _find_suite(text: str) -> _Suite:
    path = Path(text)
    if path.is_dir():
        run = RunFolder(path).require()
        config = load_run_config(run.config)
        return _Suite(config.acceptance.name or config.name, config.acceptance, path, run, config)
    if not path.is_file():
        shipped = bundled("acceptance", text) if re.fullmatch(r"[a-z0-9-]{1,48}", text) else None
        if shipped is None:
            raise ConfigMissingError(
                f"no suite {text!a}: it is no file, no folder of a run, and none of that name ships with Barnraise, "
                "as stdlib-lm does"
            )
        path = shipped
    if "acceptance" in read_toml(path, example="configs/acceptance/stdlib-lm.toml"):
        config = load_run_config(path)
        beside = find_suite(config.acceptance.suite, path) if config.acceptance.suite is not None else path
        return _Suite(config.acceptance.name or config.name, config.acceptance, beside.parent, None, config)
    suite = load_suite_config(path)
    return _Suite(suite.name or path.stem, suite, path.parent)


def _supply(found: _Suite, models: list[Settled]) -> Supply:
    if found.run is not None:
        return of_run(found.run, found.suite, _held_out_digest(found.run))
    return of_folder(found.suite, found.folder, _held_out(found, models))


def _held_out(found: _Suite, models: list[Settled]) -> HeldOutSource:
    if all(test.shard is None for test in found.suite.tests):
        return no_windows(found.suite.tests)
    for model in models:
        if (said := model.run()) is not None:
            return drawn_here(found.suite, *said)
    if found.config is not None:
        return drawn_here(found.suite, found.config, "")
    return no_windows(found.suite.tests)


def _held_out_digest(run: RunFolder) -> str:
    """Of the windows that were drawn when a run was made, as its ledger says."""
    from barnraise.installation import require

    require("coordinator")
    from coordinator.ledger import Ledger
    from coordinator.ledger.events import RunCreated

    ledger = Ledger.open_reading(run.ledger)
    try:
        created = next(iter(ledger.events_after(0, 1)), None)
    finally:
        ledger.close()
    if created is None or not isinstance(created.event, RunCreated):
        raise ConfigMissingError(f"{run.root} has an empty ledger; start it with: barnraise serve CONFIG --run DIR")
    return created.event.held_out_digest
