"""Pulls of which one transfer each is spoiled: what must never happen is that anything but the release is installed."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from barnraise.errors import BarnraiseError
from barnraise.releases.cache import Cache
from barnraise.releases.http_source import HttpSource
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions
from bit_flipper import BitFlipper
from published import PublishedRun, published

__all__ = ["Outcome", "SpoiledPulls"]

OLD, NEW = "0.1.0", "0.1.3"


@dataclass
class Outcome:
    """What became of the pulls.

    Attributes:
        refused: error class -> how often. harmless: how -> how often all was installed right all the same.
        accepted: descriptions of pulls that installed something else, or broke what was there.
    """

    spoiled: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    harmless: Counter[tuple[str, str]] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)

    @property
    def pulls(self) -> int:
        return sum(self.spoiled.values())


class SpoiledPulls:
    """A run, a folder with its first release, and what it looks like when the newest is pulled."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.draws = random.Random(seed)
        self.run: PublishedRun = published(root / "run")
        self.trust = self.run.repository.root_digest
        self.files = self._asked_for()
        self.model = root / "model"
        self._pull_clean(self.model, OLD)
        self._pull_clean(root / "right", NEW)
        self.old, self.right = contents(self.model), contents(root / "right")
        self.outcome = Outcome()

    def one(self) -> None:
        """Pull the newest release, with every transfer of one file spoiled."""
        chosen = self.draws.choice(self.files)
        flipper = BitFlipper(self.run.public, self.draws, spoils=lambda path: path == chosen)
        how = "nothing"
        try:
            pull(HttpSource(flipper.url, flipper.open), f"tiny-lm@={NEW}", self.model, self._options())
            went = "installed"
        except BarnraiseError as error:
            went = type(error).__name__
        shutil.rmtree(self.root / "trust", ignore_errors=True)
        shutil.rmtree(self.root / "cache", ignore_errors=True)
        if not flipper.spoiled:
            self._restore(went)
            return
        how = flipper.spoiled[0].how
        kind = kind_of(chosen)
        self.outcome.spoiled[(kind, how)] += 1
        found = contents(self.model)
        if went != "installed" and found == self.old:
            self.outcome.refused[went] += 1
        elif went == "installed" and found == self.right:
            self.outcome.harmless[(kind, how)] += 1
        else:
            self.outcome.accepted.append(f"{kind} {chosen}, {how}: {went}")
        self._restore(went)

    def _restore(self, went: str) -> None:
        if went == "installed" or contents(self.model) != self.old:
            shutil.rmtree(self.model)
            self._pull_clean(self.model, OLD)

    def _pull_clean(self, into: Path, version: str) -> None:
        pull(FolderSource(self.run.public), f"tiny-lm@={version}", into, self._options())
        shutil.rmtree(self.root / "trust")

    def _options(self) -> PullOptions:
        home, cache = self.root / "trust", Cache(self.root / "cache", max_bytes=0)
        return PullOptions(TrustOptions(self.trust, home), cache=cache)

    def _asked_for(self) -> list[str]:
        """Everything that a pull from the old release to the newest reads."""
        flipper = BitFlipper(self.run.public, self.draws, spoils=lambda path: False)
        source = HttpSource(flipper.url, flipper.open)
        for version in (OLD, NEW):
            flipper.served.clear()
            pull(source, f"tiny-lm@={version}", self.root / "probe", self._options())
            shutil.rmtree(self.root / "trust")
        return sorted(set(flipper.served))


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kind_of(path: str) -> str:
    """What a published file is, roughly."""
    if path.startswith("metadata/"):
        return path.removesuffix(".json").rpartition("/")[2].rpartition(".")[2]
    return "list" if path.startswith("targets/") else "blob"
