"""A run by hand, as the README has it: serve, three join, and consumers look, pull, verify and recompute.

At its end it is backed up, lost and restored, and goes on.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.write import CheckpointWriter, plan_shards
from barnraise.releases.installed import Installed
from barnraise.releases.store import BlobStore
from coordinator.ledger.events import RoundTested
from processes import TINY, Site, until

NAMES = ("ada", "barbara", "grace")


def fine_tuned(trunk: Path, into: Path) -> Path:
    """A pulled release with one tensor a little changed, as a safetensors file in a folder."""
    specs = Checkpoint.open(trunk).specs
    into.mkdir()
    with CheckpointWriter(into, specs, plan_shards(specs, 1 << 30)) as writer:
        for number, (name, data) in enumerate(Installed.open(trunk).tensors.items()):
            values = np.array(data).view("<f4")
            writer.put(name, 0, (values * np.float32(1.001) if number == 0 else values).view(np.uint8))
        writer.finish()
    return into


def test_ctrl_c_stops_everything_and_the_run_goes_on_at_the_same_address(tmp_path: Path) -> None:
    """Also of a contributor: once ends it with its unit, twice in the middle of one, to be continued."""
    long_units = TINY.replace("steps = 30", "steps = 400").replace("target_updates = 3, min_updates = 3", "ONE")
    config = long_units.replace("ONE", "target_updates = 1, min_updates = 1").replace("_for_s = 60", "_for_s = 600")
    with Site(tmp_path) as site:
        serving = site.serves(site.write_config(config))
        url = site.url
        ada = site.joins("ada")
        ada.says("step", 3)
        ada.interrupt()
        ada.notes("finishing this unit")
        ada.interrupt()
        assert ada.ends() == 0
        before = len(ada.said("step"))
        stopped_at = ada.said("step")[-1]["step"]
        assert stopped_at < 400
        assert ada.said("stopped")[-1]["units"] == 0

        serving.interrupt()
        assert serving.ends() == 0
        assert site.left_behind() == []
        assert not site.folder.address.exists()

        site.serves()
        assert site.url == url
        ada = site.joins("ada")
        ada.notes(f"continuing a unit after step {stopped_at}")
        ada.says("step", before + 1)
        assert ada.said("step")[before]["step"] == stopped_at + 1
        ada.interrupt()
        assert ada.ends() == 0
        assert [event["units"] for event in ada.said("stopped")] == [0, 1]
        assert len(ada.said("received")) == 1
        until(lambda: site.releases() == ["0.1.0", "0.1.1"], "the release of that unit")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A coordinator that has tagged two releases by three volunteers, who have left since."""
    with Site(tmp_path_factory.mktemp("run")) as site:
        site.serves(site.write_config())
        volunteers = [site.joins(name, "--units", "2") for name in NAMES]
        until(lambda: len(site.releases()) >= 3, "two releases after the first")
        assert [volunteer.ends() for volunteer in volunteers] == [0, 0, 0]
        yield site


@pytest.fixture(params=["folder", "url"])
def source(run: Site, request: pytest.FixtureRequest) -> str:
    return run.url if request.param == "url" else str(run.folder.root)


def test_releases_are_listed_and_shown(run: Site, source: str) -> None:
    listed = run.runs("ls", "--from", source, "--json").result
    assert [row["version"] for row in listed["releases"]] == ["0.1.0", "0.1.1", "0.1.2"]
    assert listed["channels"] == {"nightly": "0.1.2"}
    shown = run.runs("show", "0.1.2", "--from", source, "--json").result
    assert shown["manifest"]["parent"]["version"] == "0.1.1"
    assert len(shown["manifest"]["updates"]) == 3
    assert all(row["passed"] and row["effect"] < 0 for row in shown["tests"].values())


def test_a_release_is_pulled_by_range_and_verified(run: Site, source: str, tmp_path: Path) -> None:
    pulled = run.runs("pull", "tiny@^0.1", "--into", str(tmp_path / "model"), "--from", source, "--json").result
    assert (pulled["version"], pulled["changed"]) == ("0.1.2", True)
    again = run.runs("pull", "tiny@^0.1", "--into", str(tmp_path / "model"), "--from", source, "--json").result
    assert (again["changed"], again["fetched_bytes"]) == (False, 0)
    verified = run.runs("verify", str(tmp_path / "model"), "--from", source, "--json").result
    assert (verified["version"], verified["patch"]["parent"]) == ("0.1.2", "0.1.1")
    assert verified["model_digest"] == pulled["model_digest"]


def test_a_release_is_computed_again_from_what_was_published(run: Site, source: str) -> None:
    done = run.runs("recompute", "0.1.2", "--from", source, "--json").result["releases"]
    assert [(row["version"], row["updates"]) for row in done] == [("0.1.1", 3), ("0.1.2", 3)]


def test_a_release_and_an_update_have_the_verdict_of_the_coordinator(run: Site, tmp_path: Path) -> None:
    """A contributor tests an update before it is sent: the same verdict, in a process of its own."""
    with run.opens_ledger() as ledger:
        tested = [one.event for one in ledger.events_after(0) if isinstance(one.event, RoundTested)]
        (was,) = (event for event in tested if event.number == 1)
        digest = ledger.updates(round=1)[0].digest
    folder = str(run.folder.root)

    report = tmp_path / "report.xml"
    answer = run.runs("test", folder, "0.1.1", "--junit", str(report), "--json")
    assert answer.result["reason"] == was.reason
    for row in answer.result["tests"]:
        assert [row[key] for key in ("effect", "low", "high", "p_corrected")] == [
            was.summary[row["name"]][key] for key in ("effect", "low", "high", "p")
        ]
    assert ElementTree.parse(report).getroot().attrib["failures"] == "0"

    update = tmp_path / "mine.update"
    update.write_bytes(BlobStore(run.folder.private).read(digest))
    assert run.runs("test", folder, str(update), "--json").result["base"]["name"].endswith(" 0.1.0")

    pulled = str(tmp_path / "model")
    run.runs("pull", "tiny@=0.1.1", "--into", pulled, "--from", run.url, "--json")
    remote = run.runs("test", str(run.folder.config), pulled, "--from", run.url, "--json").result
    assert json.dumps(remote["tests"][0]["means"]) == json.dumps(answer.result["tests"][0]["means"])

    worse = run.runs("test", folder, "0.1.0", "--against", "0.1.1")
    assert worse.code == 1


def test_nothing_listens_but_on_loopback(run: Site) -> None:
    """The gateway, and all that Ray opens: strangers stay outside of Ray's trust boundary."""
    listening = {
        connection.laddr.ip
        for process in run.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_second_coordinator_on_the_same_folder_is_refused(run: Site) -> None:
    before = run.folder.address.read_bytes()
    answer = run.runs("serve", str(run.folder.root), "--json")
    assert answer.code == 7
    assert answer.error["code"] == "folder-locked"
    assert "another coordinator already works" in answer.error["reason"]
    assert run.folder.address.read_bytes() == before


def test_a_port_in_use_is_refused(run: Site, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "taken.toml"
        config.write_text(f"{TINY}\n[gateway]\nport = {port}\n")
        answer = run.runs("serve", str(config), "--run", str(tmp_path / "other"), "--json")
    assert answer.code == 8
    assert f"port {port} of 127.0.0.1 is taken" in answer.error["reason"]


def test_a_missing_configuration_is_refused_and_nothing_is_made(run: Site, tmp_path: Path) -> None:
    answer = run.runs("serve", str(tmp_path / "none.toml"), "--run", str(tmp_path / "other"), "--json")
    assert (answer.code, answer.error["code"]) == (3, "config-missing")
    assert not (tmp_path / "other" / "ledger.sqlite").exists()


def test_an_update_is_reverted_and_its_key_revoked_while_the_coordinator_runs(run: Site, tmp_path: Path) -> None:
    """Comes after the tests that want the releases as they were."""
    folder = str(run.folder.root)
    merged = run.runs("show", "0.1.1", "--from", folder, "--json").result["manifest"]["updates"][0]
    accept = ("--accept-regression", "loss-text", "--accept-regression", "loss-tools", "--reason", "it leaked")
    told = run.runs("revert", merged["digest"][:20], *accept, "--run", folder, "--json").result["result"]
    assert [one["version"] for one in told["repeated"]] == ["0.1.2"]  # too few were left of the first round
    assert len(told["added_to_another_base"]) == 3
    wanted = ("pull", f"tiny@{told['version']}", "--into", str(tmp_path / "model"), "--from", run.url, "--json")
    pulled = run.runs(*wanted).result
    done = run.runs("recompute", told["version"], "--from", run.url, "--json").result["releases"]
    assert (done[-1]["version"], done[-1]["model_digest"]) == (told["version"], pulled["model_digest"])
    banned = run.runs("revoke", merged["contributor"][:16], "--since", "2100-01-01", "--reason", "x", "--run", folder)
    assert "is banned: x; the trunk has nothing that it sent since then" in banned.out
    keys = {
        name: run.runs("identity", "show", "--key", str(run.root / name / "key"), "--json").result["public"]
        for name in NAMES
    }
    (name,) = (name for name in NAMES if keys[name] == merged["contributor"])
    refused = run.joins(name, "--units", "1")
    assert refused.ends() == 8
    assert "your key may not contribute to this run: x" in refused.log.read_text()


def test_what_serve_prints_is_one_json_object_a_line(run: Site) -> None:
    lines = (run.root / "serve.log").read_text().splitlines()
    assert {"notice", "release-tagged", "update-received"} <= {json.loads(line)["kind"] for line in lines}


def test_a_restored_run_is_served_and_goes_on(run: Site, tmp_path: Path) -> None:
    """With a fine-tune beside its trunk. Comes last, for the coordinator that the others asked is killed here."""
    trunk = run.runs("pull", "tiny", "--into", str(tmp_path / "trunk"), "--from", run.url, "--json").result["version"]
    tuned = fine_tuned(tmp_path / "trunk", tmp_path / "ft")
    folder, before = str(run.folder.root), run.releases()
    said = run.runs("import", str(tuned), "--parent", f"tiny@={trunk}", "--as", "tiny-csv", "--run", folder, "--json")
    assert said.result["tensors"]["changed"] == 1
    assert run.runs("backup", folder, str(tmp_path / "backups"), "--with-keys", "--json").result["added_bytes"] > 0
    assert run.serving is not None
    run.serving.kill()
    run.folder.root.rename(tmp_path / "lost")

    assert run.runs("restore", str(tmp_path / "backups"), folder, "--json").result["with_keys"]
    assert run.runs("fsck", "--run", folder, "--json").result["findings"] == []
    run.serves()
    model = tmp_path / "model"
    pulled = run.runs("pull", "tiny-csv@0.1.0", "--into", str(model), "--from", run.url, "--json")
    assert pulled.result["changed"]
    expected = Checkpoint.open(tuned)
    for name, data in Installed.read(model).tensors.items():
        assert np.array_equal(data, expected.block(name, 0, expected.tensors[name].size))
    for name in ("katherine", "dorothy", "mary"):  # of the others, one was banned
        run.joins(name, "--units", "1")
    until(lambda: len(run.releases()) > len(before), "a release of the restored run")
