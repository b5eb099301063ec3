"""``barnraise why``: the evidence for every fate, from folder, coordinator and node alike, in words and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.cli import run
from barnraise.digest import digest_bytes
from barnraise.errors import NotFoundError
from barnraise.records import UpdateStory
from barnraise.update_config import CodecConfig
from commands import answered
from contributor.folder import NodeFolder
from contributor.state import NodeState, SentUpdate
from coordinator.ledger.events import RoundMerged, RoundTested, UpdateChecked, UpdateRejected
from coordinator.orders import Revert
from coordinator.orders.placing import append
from coordinator.story import EVENTS_MAX, MERGES_MAX, PAIRS_MAX, TRIALS_MAX, update_story
from over_http import url_of
from simulator import Simulation, tiny_config


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, dict[str, str]]:
    """A run with an update of every fate, and who sent which."""
    tests = [{"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 0.5}]
    simulation = Simulation(
        tmp_path_factory.mktemp("run"),
        tiny_config(
            round={"target_updates": 5, "min_updates": 2, "collect_for_s": 60, "settle_for_s": 5, "lease_for_s": 60},
            merge={"clip_norm_at": 1e6},
            acceptance={"check_examples": 16, "check_margin": 60.0, "tests": tests},
        ),
    )
    odd = simulation.contributor("odd")
    sent = {"odd": odd.sends(odd.takes_lease(), odd.encoded(odd.trained(), codec=CodecConfig(name="dense")))}
    late_lease = simulation.contributor("late").takes_lease()
    sent["mallory"] = simulation.contributor("mallory").delivers(lambda delta_P: np.float32(-200) * delta_P)
    for name, shard in (("ada", "text"), ("barbara", "tools"), ("grace", "text"), ("katherine", "tools")):
        sent[name] = simulation.contributor(name, shard).delivers()
    simulation.ticks()
    simulation.passes(61)
    simulation.runs_until_tagged("0.1.1")
    late = simulation.contributor("late")
    sent["late"] = late.sends(late_lease, late.encoded(late.trained()))
    simulation.ticks(4)
    append(simulation.ledger, Revert((sent["grace"],), "trained on the wrong text", {}), simulation.clock())
    simulation.runs_until_tagged("0.1.2")
    simulation.ticks()
    return simulation, sent


@pytest.fixture
def over_http(lived: tuple[Simulation, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of that run's gateway, called in this process."""
    return url_of(lived[0], monkeypatch)


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return answered(capsys, "why", *argv)[1]


def words(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert run(["why", *argv]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    return out


def test_folder_and_coordinator_tell_the_same_of_every_fate(
    lived: tuple[Simulation, dict[str, str]], over_http: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, sent = lived
    states = {}
    for name, digest in sent.items():
        by_folder = told(capsys, digest[:13], "--run", str(simulation.folder.root))
        by_gateway = told(capsys, digest.removeprefix("b3:")[:8].upper(), "--from", over_http)
        assert by_folder["story"] == by_gateway["story"]
        assert by_folder["story"]["status"]["digest"] == digest
        assert by_folder["story"]["name"] == name
        states[name] = by_folder["story"]["status"]["state"]
    assert states == {
        "odd": "rejected",
        "mallory": "rejected",
        "ada": "merged",
        "barbara": "merged",
        "grace": "reverted",
        "katherine": "merged",
        "late": "unmerged",
    }


def test_who_is_at_fault_sees_what_was_tested(
    lived: tuple[Simulation, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, sent = lived
    story = told(capsys, sent["mallory"], "--from", str(simulation.folder.root))["story"]
    assert story["check"]["passed"] is True, story["check"]
    assert story["tested"]["passed"] is False
    assert story["proof"] == {"fails": 5, "passes": 4}
    assert story["trials_total"] == len(story["trials"]) > 0
    assert any(trial["passed"] and not trial["with_it"] and trial["updates"] == 4 for trial in story["trials"])
    assert story["merge"]["updates"] == 5
    out = words(capsys, sent["mallory"], "--from", str(simulation.folder.root))
    assert "at fault   5 updates fail with it, the same 4 without it pass" in out
    assert "4 updates without it: passed" in out
    assert "check      passed: alone it moves" in out


def test_what_failed_its_check_was_never_merged(
    lived: tuple[Simulation, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, sent = lived
    story = told(capsys, sent["odd"], "--from", str(simulation.folder.root))["story"]
    assert (story["merge"], story["tested"], story["proof"], story["trials"]) == (None, None, None, [])
    assert story["check"]["code"] == "unsupported-format"
    assert "check      failed: the lease asks for" in words(capsys, sent["odd"], "--from", str(simulation.folder.root))


def test_a_part_in_a_release_and_its_end_are_told(
    lived: tuple[Simulation, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, sent = lived
    out = words(capsys, sent["ada"], "--from", str(simulation.folder.root))
    for part in (
        "release    0.1.1\n",
        "merge      one of 4 by mean",
        "conflicts  with the others",
        "tests      passed",
    ):
        assert part in out
    story = told(capsys, sent["ada"], "--from", str(simulation.folder.root))["story"]
    assert story["merge"]["updates"] == 4, "the merge that was released, not the one that failed"
    assert story["proof"] is None
    out = words(capsys, sent["grace"], "--from", str(simulation.folder.root))
    assert "release    0.1.1; not in the trunk any more since 0.1.2" in out
    assert "trained on the wrong text" in out
    out = words(capsys, sent["late"], "--from", str(simulation.folder.root))
    assert re.search(r"conflicts  with 0\.1\.1: \d+\.\d% of what they change in opposite", out)
    assert run(["round", "show", "1", "--from", str(simulation.folder.root)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\n    model\S*: \d+\.\d% of what they change in\s", out), "of the worst tensors as well"
    assert max(len(line) for line in out.splitlines()) <= 80


def test_inside_a_nodes_folder_the_coordinator_is_known(
    lived: tuple[Simulation, dict[str, str]],
    over_http: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, sent = lived
    folder, unheard = NodeFolder(tmp_path), digest_bytes(b"never sent")
    folder.commit(NodeState(sent=(SentUpdate(digest=unheard, round=1),), to_fold=(sent["late"],)))
    folder.url.write_text(f"{over_http}\n")
    monkeypatch.chdir(tmp_path)
    assert told(capsys, sent["mallory"])["story"]["proof"] == {"fails": 5, "passes": 4}
    assert "here       this node adds it back to its next unit" in words(capsys, sent["late"])
    assert "has not asked yet what became of it" in words(capsys, unheard[:12])
    assert told(capsys, unheard[:12])["story"] is None
    assert "no update that begins with 0123456789 was received" in told(capsys, "0123456789")["reason"]


def test_names_that_are_none_unknown_or_of_several(
    lived: tuple[Simulation, dict[str, str]], over_http: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation, sent = lived
    for place in (str(simulation.folder.root), over_http):
        for name in ("b3:12345", "../../x", "zzzzzzzz", sent["ada"] + "0"):
            assert "give at least its first 6 hex digits" in told(capsys, name, "--from", place)["reason"]
        assert "was received here" in told(capsys, "0123456789", "--from", place)["reason"]
    assert told(capsys, sent["ada"], "--from", str(simulation.folder.public))["code"] == "usage"


def test_several_that_begin_so_are_listed(
    lived: tuple[Simulation, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation, sent = lived
    rows = [simulation.ledger.update(digest) for digest in sent.values()]
    monkeypatch.setattr(simulation.ledger, "updates_named", lambda name: rows)
    with pytest.raises(NotFoundError, match=r"7 updates begin with abcdef: .* and 4 more; give more digits"):
        update_story(simulation.ledger, simulation.config, "abcdef")


def test_a_story_is_bounded_whatever_the_ledger_holds(tmp_path: Path) -> None:
    """A search of many merges in a large round, with long reasons."""
    simulation = Simulation(tmp_path)
    digest = simulation.contributor("ada").delivers()
    others = [digest_bytes(str(number).encode()) for number in range(300)]
    agreement = {"cosine": 0.0, "overlap": None, "expected_overlap": None, "opposed": None}
    rows = [{"digest": one, "weight": 1.0, "clip": 1.0, "share": None} for one in (digest, *others)]
    pairs = [{"first": digest, "second": one, "agreement": agreement} for one in others]
    record = {"strategy": "median", "updates": rows, "conflicts": {"updates": [], "worst_pairs": pairs}}
    short_names = [one[3:13] for one in (digest, *others)]
    trials = [
        {"updates": short_names[number % 2 :], "passed": bool(number % 2), "reason": "x" * 5000}
        for number in range(200)
    ]
    simulation.ledger.record(
        UpdateChecked(digest, 1, [], "y" * 5000),
        *(
            event
            for _ in range(MERGES_MAX)
            for event in (RoundMerged(1, "", record), RoundTested(1, False, "z" * 5000, {}))
        ),
        UpdateRejected(digest, 1, "culprit-search", "w" * 5000, {"subsets": trials}),
        at_ms=simulation.clock(),
    )
    story = update_story(simulation.ledger, simulation.config, digest)
    assert len(story.canonical()) < 200_000
    assert (len(story.trials), story.trials_total) == (TRIALS_MAX, 200)
    assert len(story.happened) <= EVENTS_MAX
    assert story.merge is not None
    assert len(story.merge["worst_pairs"]) == PAIRS_MAX
    assert story.proof == {"fails": 301, "passes": 300}
    assert UpdateStory.read(json.loads(story.canonical())) == story
