"""Whatever a proxy does to what passes through it: the release is installed, or nothing is.

A few pulls, of which one file each is spoiled; ``make corruption`` does 10,000.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from barnraise.releases.http_source import HttpSource
from barnraise.releases.load import load
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from bit_flipper import SPOILERS, BitFlipper, Spoiler
from laws import examples
from published import published
from spoiling import SpoiledPulls

PULLS = examples(80, 1000)


def test_no_spoiled_transfer_is_accepted(tmp_path: Path) -> None:
    pulls = SpoiledPulls(tmp_path, seed=4)
    for _ in range(PULLS):
        pulls.one()
    outcome = pulls.outcome
    assert outcome.accepted == []
    assert sum(outcome.refused.values()) + sum(outcome.harmless.values()) == outcome.pulls
    assert sum(outcome.refused.values()) > 0.9 * PULLS
    kinds = {kind for kind, _ in outcome.spoiled}
    assert kinds == {"root", "timestamp", "snapshot", "targets", "nightly", "list", "blob"}
    assert {how for _, how in outcome.spoiled} == {spoiler.__name__ for spoiler in SPOILERS}


def test_a_good_mirror_makes_up_for_a_spoiling_one(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    flipper = BitFlipper(run.public, random.Random(5), spoils=lambda path: path.startswith("blobs/"))
    bad, good = HttpSource(flipper.url, flipper.open), FolderSource(run.public)
    done = pull(bad, "tiny-lm", tmp_path / "model", PullOptions(mirrors=(good,)))
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.3"].tobytes()
    assert any(flipper.url in warning for warning in done.warnings)
    assert flipper.spoiled


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_every_way_to_spoil_changes_something(spoiler: Spoiler) -> None:
    draws = random.Random(1)
    data, other = draws.randbytes(1000), draws.randbytes(500)
    spoiled = [spoiler(data, other, draws) for _ in range(50)]
    assert sum(one != data for one in spoiled) > 45
