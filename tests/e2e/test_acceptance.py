"""A contributor tests an update before it is sent: the same verdict as the coordinator's, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from barnraise.releases.store import BlobStore
from coordinator.ledger.events import RoundTested
from processes import Site, until

pytestmark = pytest.mark.xdist_group("ray")  # one after the other, for Ray takes every core


def test_a_release_and_an_update_have_the_verdict_of_the_coordinator(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.serves(site.write_config())
        volunteers = [site.joins(name, "--units", "1") for name in ("ada", "barbara", "grace")]
        until(lambda: len(site.releases()) >= 2, "a release after the first")
        assert [volunteer.ends() for volunteer in volunteers] == [0, 0, 0]
        with site.opens_ledger() as ledger:
            (was,) = [one.event for one in ledger.events_after(0) if isinstance(one.event, RoundTested)]
            digest = ledger.updates()[0].digest
        run = str(site.folder.root)

        report = tmp_path / "report.xml"
        answer = site.runs("test", run, "0.1.1", "--junit", str(report), "--json")
        assert answer.result["reason"] == was.reason
        for row in answer.result["tests"]:
            assert [row[key] for key in ("effect", "low", "high", "p_corrected")] == [
                was.summary[row["name"]][key] for key in ("effect", "low", "high", "p")
            ]
        assert ElementTree.parse(report).getroot().attrib["failures"] == "0"

        update = tmp_path / "mine.update"
        update.write_bytes(BlobStore(site.folder.private).read(digest))
        assert site.runs("test", run, str(update), "--json").result["base"]["name"].endswith(" 0.1.0")

        pulled = str(tmp_path / "model")
        site.runs("pull", "tiny", "--into", pulled, "--from", site.url, "--json")
        suite = str(site.folder.config)
        remote = site.runs("test", suite, pulled, "--from", site.url, "--json").result
        assert json.dumps(remote["tests"][0]["means"]) == json.dumps(answer.result["tests"][0]["means"])

        worse = site.runs("test", run, "0.1.0", "--against", "0.1.1")
        assert worse.code == 1
