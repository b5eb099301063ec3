"""Which blobs a run names: everything that is mentioned, and what it cannot do without.

*Mentioned* is wide, and what garbage collection keeps: any digest in the ledger, in a published
list or in a manifest. *Required* is narrow, and what a check or a backup looks for: what
pulling, recomputing and going on need. An ended round's candidates are in neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from barnraise.digest import canonical_json, is_digest
from barnraise.narrate import short
from barnraise.releases.store import BlobStore
from coordinator.ledger import Ledger, ReleaseRow, RoundRow, UpdateRow
from coordinator.ledger.events import RecordedEvent, RoundMoved
from coordinator.round import FINAL

__all__ = ["Place", "Reference", "digests_in", "mentioned", "refs_in_json", "required", "scored_models"]

Place = Literal["public", "private"]
WAITING = ("received", "checked")
_DIGEST = re.compile(rb"b3:[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Reference:
    """A blob that has to be there.

    Attributes:
        size_bytes: None where nothing says it.
        why: what it is, such as "the patch of 0.1.2".
    """

    place: Place
    digest: str
    size_bytes: int | None
    why: str


def digests_in(data: bytes | memoryview) -> Iterator[str]:
    """Every digest that stands in a text."""
    for match in _DIGEST.finditer(data):
        yield match.group().decode("ascii")


def refs_in_json(value: Any, key: str = "blob") -> Iterator[tuple[str, str, int]]:
    """Every blob that a decoded JSON value names by digest and size, with the key that it stands under.

    Of what was read as a message, :func:`barnraise.releases.references.blob_refs` tells the same; a check also looks
    into manifests that a newer version wrote, which this one cannot read as messages.
    """
    if isinstance(value, Mapping):
        digest, size_bytes = value.get("digest"), value.get("size_bytes")
        if isinstance(digest, str) and is_digest(digest) and isinstance(size_bytes, int):
            yield key, digest, size_bytes
        for name, item in value.items():
            yield from refs_in_json(item, str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from refs_in_json(item, key)


def mentioned(ledger: Ledger, public: BlobStore, published: Iterable[bytes]) -> frozenset[str]:
    """Every digest that anybody may still ask for.

    Args:
        public: where manifests are read from.
        published: the lists of releases as they are served.
    """
    ended = {row.number for row in ledger.rounds() if row.phase in FINAL}
    found = set(_of_events(_all_events(ledger), ended))
    for data in published:
        found.update(digests_in(data))
    manifests = [digest for digest, _ in _manifests(ledger)]
    for row in ledger.orders(waiting=True):  # such as to list a model that was imported
        manifests += digests_in(canonical_json(row.order))
    for digest in manifests:
        if public.has(digest):
            found.update(digests_in(public.map(digest)))
    return frozenset(found)


def _all_events(ledger: Ledger) -> Iterator[RecordedEvent]:
    seq = 0
    while batch := ledger.events_after(seq):
        yield from batch
        seq = batch[-1].seq


def _of_events(events: Iterable[RecordedEvent], ended: Collection[int]) -> Iterator[str]:
    """Digests that events name; where an ended round once stood is history, and holds nothing in place."""
    for recorded in events:
        if isinstance(recorded.event, RoundMoved) and recorded.event.number in ended:
            continue
        yield from digests_in(canonical_json(asdict(recorded.event)))


def required(ledger: Ledger, public: BlobStore) -> list[Reference]:
    """What the run cannot do without, each blob once in each place. A missing manifest hides what it names."""
    found = [*_published(ledger, public), *_private(ledger)]
    return list({(one.place, one.digest): one for one in reversed(found)}.values())[::-1]


def _published(ledger: Ledger, public: BlobStore) -> Iterator[Reference]:
    for digest, what in _manifests(ledger):
        yield Reference("public", digest, None, f"the manifest of {what}")
        if not public.has(digest):
            continue
        try:
            manifest = json.loads(bytes(public.map(digest)))
        except (ValueError, RecursionError):  # damaged: told where digests are compared
            continue
        for key, named, size_bytes in refs_in_json(manifest):
            yield Reference("public", named, size_bytes, f"{_SINGULAR.get(key, key)} of {what}")
    for row in ledger.releases():
        for key, named, size_bytes in refs_in_json({"keyframe": row.keyframe, "patch": row.patch}):
            yield Reference("public", named, size_bytes, f"{key} of {row.version}")


_SINGULAR = {"updates": "an update", "tensors": "a tensor", "files": "a file", "blob": "a tensor"}


def _manifests(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Digest of every manifest, and the release that it is of."""
    for row in ledger.releases():
        yield row.manifest_digest, row.version
    for model in ledger.derived():
        yield model.manifest_digest, f"{model.name} {model.version}"


def _private(ledger: Ledger) -> Iterator[Reference]:
    run, head, current = ledger.run(), ledger.head(), ledger.current_round()
    if run is not None and run.held_out_digest:
        yield Reference("private", run.held_out_digest, None, "the held-out data")
    if head is not None and head.state_digest is not None:
        yield Reference("private", head.state_digest, None, f"the optimiser state of {head.version}")
    waiting: list[UpdateRow] = [row for state in WAITING for row in ledger.updates(state=state)]
    for row in waiting:
        yield Reference("private", row.digest, row.size_bytes, f"update {short(row.digest)}, which waits for its round")
    if current is not None and current.phase not in FINAL:
        candidate = current.state.get("candidate") or {}
        for key in ("patch_digest", "state_digest"):
            if key in candidate:
                what = key.removesuffix("_digest")
                yield Reference("private", candidate[key], None, f"the {what} of round {current.number}'s candidate")


def scored_models(releases: Iterable[ReleaseRow], current: RoundRow | None) -> frozenset[str]:
    """Digests of the models whose scores may be asked for again: all releases, and the open round's."""
    found = {row.model_digest for row in releases}
    if current is not None and current.phase not in FINAL:
        found.update(digests_in(canonical_json(current.state)))
    return frozenset(found)
