"""``barnraise demo``, played with a tiny model: what it promises, also when its processes are killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barnraise.run_folder import RunFolder
from laws import ALL
from processes import TINY, Program, Site, until
from published import PublishedRun

CONFIG = TINY.replace("target_updates = 3, min_updates = 3", "target_updates = 4, min_updates = 4")


def plays(site: Site) -> Program:
    config = site.write_config(CONFIG)
    arguments = ["demo", "--into", str(site.folder.root), "--rounds", "4", "--config", str(config), "--json"]
    return site.starts("demo", *arguments)


def summary_of(demo: Program) -> dict[str, Any]:
    """The demo's one line, once it has ended well."""
    assert demo.ends() == 0, demo.log.read_text()[-2000:]
    (line,) = demo.log.read_text().splitlines()
    envelope = json.loads(line)
    assert envelope["ok"] is True
    return dict(envelope["result"])


def assert_as_promised(told: dict[str, Any]) -> None:
    versions = [release["version"] for release in told["releases"]]
    assert versions == [f"0.1.{number}" for number in range(len(versions))]
    assert len(versions) > 3
    assert told["rounds"] >= 4
    assert all(release["non_inferior"] for release in told["releases"])
    assert told["bits_per_byte"]["end"] < told["bits_per_byte"]["start"] - 1
    assert told["pull"]["equals_parent_plus_patch"]
    assert told["pull"]["version"] in versions[-2:]  # the newest one then
    assert told["pull"]["patch_bytes"] < told["pull"]["model_bytes"]
    assert told["pull"]["sample"]


def trusts_another_run(site: Site, name: str) -> None:
    """The owner of this machine has pulled a run of that name from somebody else before."""
    another = PublishedRun(site.root / "another", name=name)
    another.release("0.1.0")
    pulled = site.runs("pull", name, "--from", str(another.public), "--into", str(site.root / "theirs"))
    assert pulled.code == 0, pulled.err


def kills_some_of(site: Site, demo: Program) -> None:
    """Whatever the demo itself starts again, one after the other."""
    for releases, target in ((1, "coordinator\\.gateway"), (2, "coordinator\\.conductor"), (3, "barnraise join")):
        until(lambda count=releases: len(site.releases()) >= count or demo.ended, f"{releases} releases")
        site.find(target).kill()


@pytest.mark.parametrize("kills", [True, False] if ALL else [True])
def test_the_demo_keeps_its_promises_also_when_its_processes_are_killed(tmp_path: Path, kills: bool) -> None:
    with Site(tmp_path) as site:
        trusts_another_run(site, "tiny")
        demo = plays(site)
        if kills:
            kills_some_of(site, demo)
        told = summary_of(demo)
        assert_as_promised(told)
        (poison,) = told["rejected"]
        assert poison["by"] == "mallory"
        assert "held-out windows" in poison["reason"]
        with site.opens_ledger() as ledger:
            row = ledger.update(poison["digest"])
            assert row is not None
            assert row.evidence is not None
            assert row.evidence["change"] > 0.5
            others = [update for update in ledger.updates(round=row.round) if update.digest != row.digest]
            assert {update.state for update in others} == {"merged"}
        assert site.left_behind() == []
        assert RunFolder(Path(told["folder"])).config.exists()
        listed = site.runs("ls", "--from", told["folder"], "--json").result
        assert {release["version"] for release in told["releases"]} <= {row["version"] for row in listed["releases"]}
