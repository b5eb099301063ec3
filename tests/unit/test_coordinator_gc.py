"""Garbage collection: the decision, and a run whose stores hold more than it names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import FolderLockedError, NotARunFolderError, UsageError
from barnraise.releases.store import BlobStore, StoredBlob
from barnraise.run_folder import RunFolder, locked_file
from coordinator import gc as gc_module
from coordinator.gc import GRACE_S, Collected, collect, sweep
from coordinator.importing import import_lock
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders import Derive
from coordinator.orders.placing import append
from simulator import Simulation

DAY_NS = 24 * 3600 * 10**9
LATER_NS = 10**19  # long after anything that a test stores


def names() -> st.SearchStrategy[str]:
    return st.sampled_from([digest_bytes(bytes([number])) for number in range(12)])


@settings(deadline=None)
@given(
    found=st.dictionaries(names(), st.integers(0, 4 * DAY_NS)),
    needed=st.frozensets(names()),
    grace_days=st.integers(0, 3),
)
def test_nothing_needed_or_young_goes_and_all_else_does(
    found: dict[str, int], needed: frozenset[str], grace_days: int
) -> None:
    blobs = [StoredBlob(digest, 10, at_ns) for digest, at_ns in found.items()]
    swept = sweep(blobs, needed, now_ns=3 * DAY_NS, grace_s=grace_days * 86400)
    gone = {blob.digest for blob in swept.remove}
    assert gone == {
        digest for digest, at_ns in found.items() if digest not in needed and at_ns <= (3 - grace_days) * DAY_NS
    }
    assert swept.kept == len(set(found) & needed)
    assert swept.young == len(found) - len(gone) - swept.kept
    assert swept.size_bytes == 10 * len(gone)


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    """A run with one release of a round."""
    simulation = Simulation(tmp_path / "run")
    for name, shard in (("ada", "text"), ("barbara", "tools"), ("grace", "text")):
        simulation.contributor(name, shard).delivers()
    simulation.runs_until("released")
    return simulation


def blobs(simulation: Simulation) -> dict[str, set[str]]:
    return {
        "public": {blob.digest for blob in simulation.desk.public.stored()},
        "private": {blob.digest for blob in simulation.desk.private.stored()},
    }


def by_place(collected: list[Collected]) -> dict[str, Collected]:
    return {one.place: one for one in collected}


def test_a_run_with_nothing_to_remove_loses_nothing_and_goes_on(simulation: Simulation) -> None:
    before = blobs(simulation)
    collect(simulation.folder, now_ns=LATER_NS)
    assert blobs(simulation) == before
    simulation.start()
    for name in ("ada", "barbara", "grace"):
        simulation.contributor(name).delivers()
    simulation.runs_until_tagged("0.1.2")


def test_what_nothing_names_goes_and_is_counted(simulation: Simulation) -> None:
    before = blobs(simulation)
    orphans = [simulation.desk.public.put(b"an import that was interrupted"), simulation.desk.private.put(b"candidate")]
    forgotten = simulation.folder.private / "scores" / f"{'0' * 64}.json"
    forgotten.write_bytes(b"{}")
    half = simulation.folder.private / "incoming" / "0123.part"
    half.write_bytes(b"half")
    dry = collect(simulation.folder, now_ns=LATER_NS, dry_run=True)
    assert forgotten.exists()
    assert simulation.desk.public.has(orphans[0])
    done = collect(simulation.folder, now_ns=LATER_NS)
    assert done == dry
    assert blobs(simulation) == before
    assert not forgotten.exists()
    assert not half.exists()
    counted = by_place(done)
    assert (counted["public blobs"].removed, counted["public blobs"].freed_bytes) == (1, 30)
    assert (counted["private blobs"].removed, counted["private blobs"].freed_bytes) == (1, 9)
    assert [counted[place].removed for place in ("scores", "half-written files", "whole models")] == [1, 1, 0]


def test_what_is_young_stays(simulation: Simulation) -> None:
    digest = simulation.desk.public.put(b"about to be named")
    (stored,) = [blob for blob in simulation.desk.public.stored() if blob.digest == digest]
    now_ns = stored.stored_at_ns + int(GRACE_S * 1e9) - 1
    assert by_place(collect(simulation.folder, now_ns=now_ns))["public blobs"].young == 1
    assert simulation.desk.public.has(digest)
    collect(simulation.folder, now_ns=now_ns + 1)
    assert not simulation.desk.public.has(digest)


def test_the_open_rounds_candidate_stays_and_an_ended_rounds_goes(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "run")
    for name, shard in (("ada", "text"), ("barbara", "tools"), ("grace", "text")):
        simulation.contributor(name, shard).delivers()
    for _ in range(400):
        simulation.ticks()
        row = simulation.ledger.current_round()
        assert row is not None
        if row.phase == "testing":
            break
    candidate = row.state["candidate"]
    collect(simulation.folder, now_ns=LATER_NS)
    assert simulation.desk.private.has(candidate["patch_digest"])
    assert simulation.desk.private.has(candidate["state_digest"])
    assert simulation.desk.models.path(candidate["model_digest"]).exists()
    simulation.start()
    simulation.runs_until("released")


def test_while_a_coordinator_runs_the_grace_period_cannot_be_short(simulation: Simulation) -> None:
    with simulation.folder.lock("coordinator"):
        with pytest.raises(UsageError, match="Stop it first"):
            collect(simulation.folder, now_ns=LATER_NS, grace_s=60)
        collect(simulation.folder, now_ns=LATER_NS)
    collect(simulation.folder, now_ns=LATER_NS, grace_s=0)


def test_an_import_under_way_is_waited_for(simulation: Simulation) -> None:
    with (
        locked_file(import_lock(simulation.folder), "importing"),
        pytest.raises(FolderLockedError, match="being imported"),
    ):
        collect(simulation.folder, now_ns=LATER_NS)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARunFolderError):
        collect(RunFolder(tmp_path), now_ns=LATER_NS)


def test_a_blob_that_is_named_meanwhile_is_not_removed(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = simulation.desk.public.put(b"old, and just stored again")
    os.utime(simulation.desk.public.path(digest), ns=(1, 1))
    real = BlobStore.remove

    def stored_again_first(store: BlobStore, blob: StoredBlob) -> bool:
        store.put(b"old, and just stored again")
        return real(store, blob)

    monkeypatch.setattr(BlobStore, "remove", stored_again_first)
    collect(simulation.folder, now_ns=LATER_NS)
    assert simulation.desk.public.has(digest)


def test_a_model_that_waits_to_be_listed_keeps_its_blobs(simulation: Simulation) -> None:
    public = simulation.desk.public
    tensor = public.put(b"a tensor of an import")
    manifest = public.put(canonical_json({"tensors": [{"blob": {"digest": tensor, "size_bytes": 21}}]}))
    order = Derive("ft", "0.1.0", digest_bytes(b"ft"), manifest, 9, "tiny-lm", "0.1.1", digest_bytes(b"trunk"), "new")
    order_id = append(simulation.ledger, order, 1)  # whoever placed it was killed before it was settled
    collect(simulation.folder, now_ns=LATER_NS)
    assert public.has(tensor)
    assert public.has(manifest)
    simulation.ledger.record(OrderSettled(order_id, False, "refused"), at_ms=2)
    collect(simulation.folder, now_ns=LATER_NS)
    assert not public.has(tensor)


def test_what_vanishes_while_it_is_looked_at_stops_nothing(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = simulation.folder.private / "incoming" / "0123.part"
    half.write_bytes(b"half")
    real = gc_module._as_found
    monkeypatch.setattr(gc_module, "_as_found", lambda files: (half.unlink(missing_ok=True), real(files))[1])
    done = by_place(collect(simulation.folder, now_ns=LATER_NS))
    assert done["half-written files"].removed == 0


def test_a_model_that_was_just_used_stays(simulation: Simulation) -> None:
    first = simulation.ledger.releases()[0]
    simulation.desk.ensure_model(first, simulation.ledger.releases())
    path = simulation.desk.models.path(first.model_digest)
    os.utime(path, ns=(1, 1))
    simulation.desk.ensure_model(first, simulation.ledger.releases())
    assert path.stat().st_mtime_ns > 1
