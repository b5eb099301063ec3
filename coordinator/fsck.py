"""Check everything that a run, a mirror or a folder of backups stores, and say what is not in order.

    blobs       every blob is what its name says
    references  whatever the releases, the ledger and the open round name is there
    ledger      SQLite finds its file in order, and no event is missing
    tables      replaying the events gives the tables
    index       what is published says what the ledger says
    signatures  python-tuf's client accepts the metadata, from the first root on

What is found is one :class:`Finding` each, with what to do about it. A mirror has no ledger;
its references are what its index leads to. Backups are what their lists name. Nothing is changed
by looking. A coordinator may be at work: what was found while something was recorded or published
is looked at again.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Table, select

from barnraise.digest import digest_file
from barnraise.errors import BarnraiseError, ExpiredMetadataError, StorageError
from barnraise.releases.index import ReleaseIndex
from barnraise.releases.provenance import verify_lists
from barnraise.releases.source import FolderSource, ReleaseSource
from barnraise.releases.store import BlobStore, StoredBlob
from barnraise.releases.trust import INDEX_NAME, TrustOptions, parse_list, read_index, read_vouched
from barnraise.run_folder import RunFolder
from coordinator.backup_check import check_backups
from coordinator.backup_store import BackupStore
from coordinator.findings import TABLES, Checked, Finding
from coordinator.ledger import Ledger, schema
from coordinator.ledger.engine import open_engine, reading
from coordinator.ledger.file import copy_file, faults_of
from coordinator.listing import index_of
from coordinator.references import Place, Reference, refs_in_json, required

__all__ = ["fsck"]

CONTRIBUTIONS = "updates"  # a mirror has them only if its keeper wishes
ROWS_SHOWN = 3
LOOKS = 5
"""So often at most, for a run in which something happens all the time."""


def fsck(path: Path, trust: TrustOptions | None = None) -> Checked:
    """Check a run folder, a mirror, or a folder of backups.

    Args:
        trust: of a mirror: the first root that it must begin with; by default the one that it has.

    Raises:
        NotARunFolderError: none of these.
        StorageError: a ledger that cannot be read at all.
    """
    folder = RunFolder(path)
    if folder.config.is_file():
        return _fsck_run(folder)
    backups = BackupStore(path.absolute())
    if backups.run() is not None:
        return check_backups(backups)
    source = FolderSource(path)
    store = BlobStore(path)
    signatures = list(_signatures(source, trust or _own_root(path), renewed=True))
    references = list(_of_index(source, store))
    return _checked({"public": store}, references, signatures, None)


def _fsck_run(folder: RunFolder) -> Checked:
    """Look, and look again at what is not in order as long as the run has moved meanwhile."""
    before, checked = _look(folder, None)
    for _ in range(LOOKS - 1):
        if not checked.findings or _state(folder) == before:
            break
        damaged = {finding.blob.digest for finding in checked.findings if finding.blob is not None}
        before, again = _look(folder, damaged)
        checked = replace(checked, findings=again.findings)
    return checked


def _state(folder: RunFolder) -> tuple[int, bytes | None]:
    """What moves with everything that a coordinator does: the ledger, and the timestamp of what is published."""
    ledger = Ledger.open_reading(folder.ledger)
    try:
        seq = ledger.last_seq()
    finally:
        ledger.close()
    timestamp = folder.public / "metadata" / "timestamp.json"
    return seq, timestamp.read_bytes() if timestamp.is_file() else None


def _look(folder: RunFolder, only: Collection[str] | None) -> tuple[tuple[int, bytes | None], Checked]:
    """The run's state before a look at all of it, and what was found; with ``only``, just these blobs are read."""
    stores: dict[Place, BlobStore] = {"public": BlobStore(folder.public), "private": BlobStore(folder.private)}
    findings = list(_ledger_file(folder.ledger))
    before = _state(folder)
    ledger = Ledger.open_reading(folder.ledger)
    try:
        references = _with_sizes(required(ledger, stores["public"]), folder)
        findings += [*_projections(folder.ledger), *_index(folder, ledger)]
    finally:
        ledger.close()
    mirror = FolderSource(folder.public) if (folder.public / "metadata" / "timestamp.json").is_file() else None
    if mirror is not None:
        findings += _signatures(mirror, _own_root(folder.public), renewed=False)
    return before, _checked(stores, references, findings, only)


def _checked(
    stores: dict[Place, BlobStore], references: list[Reference], others: list[Finding], only: Collection[str] | None
) -> Checked:
    """Every blob hashed, or ``only`` some, and every reference looked for; and what was found otherwise."""
    known: dict[tuple[str, str], Reference] = {(one.place, one.digest): one for one in references}
    damaged: list[Finding] = []
    blobs = size_bytes = 0
    for place, store in stores.items():
        for blob in store.stored():
            if only is not None and blob.digest not in only:
                continue
            try:
                found = digest_file(store.path(blob.digest))
            except FileNotFoundError:  # the coordinator needs it no more; if it does, that is told below
                continue
            blobs, size_bytes = blobs + 1, size_bytes + blob.size_bytes
            if found != blob.digest:
                damaged.append(_damaged(place, store, blob, found, known.get((place, blob.digest))))
    missing = [
        Finding("references", f"{one.why} is missing: {one.digest[:15]}.. in {stores[one.place].root}", one)
        for one in references
        if not stores[one.place].has(one.digest)
    ]
    return Checked(blobs, size_bytes, len(references), (*damaged, *missing, *others))


def _damaged(place: Place, store: BlobStore, blob: StoredBlob, found: str, needed: Reference | None) -> Finding:
    reference = needed or Reference(place, blob.digest, blob.size_bytes, "a blob that nothing needs")
    what = f"{store.path(blob.digest)} is damaged: {reference.why}, {blob.size_bytes:,} bytes, is {found[:15]}.."
    return Finding("blobs", what, reference, needed is not None)


# -- references and signatures of what is published -----------------------------------------


def _with_sizes(references: list[Reference], folder: RunFolder) -> list[Reference]:
    """The ledger names manifests without their size, which the published index says."""
    try:
        index = json.loads(read_vouched(FolderSource(folder.root))[INDEX_NAME])
    except (BarnraiseError, ValueError, RecursionError):
        return references
    sizes = {digest: size_bytes for _, digest, size_bytes in refs_in_json(index)}
    return [one if one.size_bytes is not None else replace(one, size_bytes=sizes.get(one.digest)) for one in references]


def _of_index(source: FolderSource, store: BlobStore) -> Iterator[Reference]:
    """What a mirror's index leads to; none where it cannot be read, which its signatures tell."""
    try:
        index = parse_list(read_vouched(source)[INDEX_NAME], ReleaseIndex, "the index")
    except BarnraiseError:
        return
    seen: set[str] = set()
    for _, digest, size_bytes in refs_in_json(index.model_dump(mode="json")):
        yield from _once(seen, Reference("public", digest, size_bytes, "a blob that the index names"))
    manifests = [(entry.manifest.digest, entry.version) for entry in index.releases]
    manifests += [(entry.manifest.digest, f"{entry.name} {entry.version}") for entry in index.derived]
    for manifest_digest, what in manifests:
        if store.has(manifest_digest):
            try:
                manifest = json.loads(store.read(manifest_digest))
            except (ValueError, RecursionError):
                continue
            for key, digest, size_bytes in refs_in_json(manifest):
                if key == CONTRIBUTIONS:
                    continue
                yield from _once(seen, Reference("public", digest, size_bytes, f"{key} of {what}"))


def _once(seen: set[str], reference: Reference) -> Iterator[Reference]:
    if reference.digest not in seen:
        seen.add(reference.digest)
        yield reference


def _own_root(public: Path) -> TrustOptions:
    """Trust what the folder itself begins with: then the question is whether the rest follows from it."""
    try:
        return TrustOptions(root=(public / "metadata" / "1.root.json").read_bytes())
    except FileNotFoundError:
        return TrustOptions()


def _signatures(source: ReleaseSource, trust: TrustOptions, *, renewed: bool) -> Iterator[Finding]:
    """What python-tuf's client says to it, that has seen nothing before.

    Args:
        renewed: whether it must be in date: a mirror's is renewed elsewhere, a run's when it is served again.
    """
    with tempfile.TemporaryDirectory(prefix="barnraise-fsck-") as temporary:
        try:
            read_index(source, TrustOptions(trust.root, Path(temporary)))
            return
        except ExpiredMetadataError as error:
            if renewed:
                yield Finding("signatures", error.reason)
        except BarnraiseError as error:
            yield Finding("signatures", error.reason)
            return
    try:  # the client stops at what has ended to hold: the rest is followed without a clock
        verify_lists(read_vouched(source))
    except BarnraiseError as error:
        yield Finding("signatures", error.reason)


# -- the ledger ---------------------------------------------------------------------------------


def _ledger_file(path: Path) -> Iterator[Finding]:
    try:
        faults = faults_of(path)
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{path} cannot be read: {error}; restore it from a backup: barnraise restore") from error
    if faults:
        yield Finding("ledger", f"{path} is damaged: {'; '.join(faults)}; restore it from a backup")


def _projections(path: Path) -> Iterator[Finding]:
    """Replay a copy's events, and compare table by table."""
    with tempfile.TemporaryDirectory(prefix="barnraise-fsck-") as temporary:
        copy = Path(temporary) / "ledger.sqlite"
        copy_file(path, copy)
        before = _tables(copy)
        gap = _gap(before.pop(schema.events.name))
        if gap is not None:
            yield Finding("ledger", f"event {gap} is missing from {path}; restore it from a backup")
            return
        ledger = Ledger.open(copy)
        try:
            ledger.rebuild()
        except (RuntimeError, BarnraiseError, KeyError, TypeError) as error:
            yield Finding("ledger", f"the events of {path} cannot be replayed: {error}; restore it from a backup")
            return
        finally:
            ledger.close()
        after = _tables(copy)
    for name, rows in before.items():
        differing = set(rows) ^ set(after[name])
        if differing:
            what = f"table {name} of {path} has {len(differing)} rows that its events do not give, or lacks them"
            yield Finding(TABLES, f"{what}; mend it with --repair while no coordinator runs")


def _tables(path: Path) -> dict[str, list[str]]:
    """Name -> rows as text, of the events and of all that follows from them."""
    engine = open_engine(path)
    try:
        with reading(engine) as connection:
            return {table.name: _rows(connection, table) for table in (schema.events, *schema.PROJECTIONS)}
    finally:
        engine.dispose()


def _rows(connection: Connection, table: Table) -> list[str]:
    found = connection.execute(select(table)).mappings()
    return sorted(json.dumps(dict(row), sort_keys=True, default=str) for row in found)


def _gap(events: Iterable[str]) -> int | None:
    """The first sequence number that is not there."""
    numbers = sorted(int(json.loads(row)["seq"]) for row in events)
    return next((n for n, found in enumerate(numbers, start=1) if n != found), None)


def _index(folder: RunFolder, ledger: Ledger) -> Iterator[Finding]:
    """Compare what is published with what the ledger says."""
    if not ledger.releases():
        return
    again = "start the coordinator once: it publishes the index anew"
    try:
        published = parse_list(read_vouched(FolderSource(folder.root))[INDEX_NAME], ReleaseIndex, "the index")
        expected = index_of(ledger, BlobStore(folder.public))
    except BarnraiseError as error:
        yield Finding("index", f"the index cannot be compared with the ledger: {error.reason}")
        return
    if published != expected:
        there, wanted = {e.version for e in published.releases}, {e.version for e in expected.releases}
        differing = ", ".join(sorted(there ^ wanted)[:ROWS_SHOWN]) or "entries or channels"
        yield Finding("index", f"the published index is not what the ledger says ({differing}); {again}")
