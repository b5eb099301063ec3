"""A run that is backed up and restored, with a fine-tune beside its trunk: served, pulled over HTTP, trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.write import CheckpointWriter, plan_shards
from barnraise.releases.installed import Installed
from processes import Site, until

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


def test_a_restored_run_is_served_and_goes_on(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        server = site.serves(site.write_config())
        volunteers = [site.joins(name, "--units", "1") for name in NAMES]
        until(lambda: len(site.releases()) == 2, "a release")
        assert [volunteer.ends() for volunteer in volunteers] == [0, 0, 0]
        before = site.releases()
        site.runs("pull", "tiny", "--into", str(tmp_path / "trunk"), "--from", site.url)
        tuned = fine_tuned(tmp_path / "trunk", tmp_path / "ft")
        run = str(site.folder.root)
        said = site.runs("import", str(tuned), "--parent", "tiny@^0.1", "--as", "tiny-csv", "--run", run, "--json")
        assert said.result["tensors"]["changed"] == 1
        assert site.runs("backup", run, str(tmp_path / "backups"), "--with-keys", "--json").result["added_bytes"] > 0
        server.kill()
        site.folder.root.rename(tmp_path / "lost")

        assert site.runs("restore", str(tmp_path / "backups"), run, "--json").result["with_keys"]
        assert site.runs("fsck", "--run", run, "--json").result["findings"] == []
        site.serves()
        model = tmp_path / "model"
        pulled = site.runs("pull", "tiny-csv@0.1.0", "--into", str(model), "--from", site.url, "--json")
        assert pulled.result["changed"]
        expected = Checkpoint.open(tuned)
        for name, data in Installed.read(model).tensors.items():
            assert np.array_equal(data, expected.block(name, 0, expected.tensors[name].size))
        for name in NAMES:
            site.joins(name, "--units", "1")
        until(lambda: len(site.releases()) > len(before), "a release of the restored run")
