"""Compute a release again from its updates, as anyone can who has the published blobs.

Starts from the first release and repeats every round up to the wanted one: the same base,
updates, weights and configuration must give the same model and the same patch, whoever
merges them, in whatever order and on however many workers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from barnraise.config import RunConfig, parse_run_config
from barnraise.errors import VerificationError
from barnraise.protocol import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.manifest import Manifest
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from coordinator.conductor.merging import Bench, MergeInput, MergeJob
from coordinator.conductor.pool import InlinePool, Pool
from coordinator.conductor.steps import merge_now
from coordinator.models import ModelCache
from coordinator.round import Candidate

__all__ = ["Recomputed", "recompute"]

TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A release that was computed again and is the same, bit for bit."""

    version: str
    model_digest: str
    patch_digest: str
    updates: int


def recompute(
    source: ReleaseSource,
    version: str,
    *,
    trust: TrustOptions | None = None,
    pool: Pool | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[Recomputed]:
    """Repeat every round from the first release to ``version``.

    Args:
        version: an exact version. trust: as for pulling. pool: where merging runs; in this process by default.
        report: gets a line for every release.

    Raises:
        NoSuchVersionError: it is not listed.
        VerificationError: a release does not come out as it was published.
    """
    index = read_index(source, trust).index
    chain = lineage(index, version)
    done = []
    with tempfile.TemporaryDirectory(prefix="barnraise-recompute-") as temporary:
        catalog = Catalog(source, index, BlobStore(Path(temporary)))
        bench, parent = _first(catalog, chain[0], Path(temporary))
        state: str | None = None
        for entry in chain[1:]:
            manifest = catalog.manifest(entry)
            job = _job(catalog, parent, manifest, state)
            candidate = merge_now(bench, job, pool or InlinePool(), TIMEOUT_S).candidate
            _require_same(manifest, candidate)
            done.append(Recomputed(entry.version, candidate.model_digest, candidate.patch_digest, len(job.inputs)))
            report(f"{entry.version}: {len(job.inputs)} updates merged again, the same model and patch bit for bit")
            parent, state = manifest, candidate.state_digest
    return done


def lineage(index: ReleaseIndex, version: str) -> list[IndexEntry]:
    """The release and its ancestors, oldest first."""
    chain = [index.entry(version)]
    while (parent := chain[-1].parent) is not None and len(chain) <= len(index.releases):
        chain.append(index.entry(parent))
    return chain[::-1]


def _first(catalog: Catalog, entry: IndexEntry, root: Path) -> tuple[Bench, Manifest]:
    manifest = catalog.manifest(entry)
    if manifest.keyframe is None:
        raise VerificationError(f"{entry.version} has no parent and no keyframe; use another mirror")
    bench = Bench(catalog.store, ModelCache(root / "models", manifest.space))
    bench.models.put(parse_keyframe(catalog.blob(manifest.keyframe), manifest.space))
    return bench, manifest


def _config(catalog: Catalog, manifest: Manifest) -> RunConfig:
    settings = json.loads(bytes(catalog.blob(manifest.config)))
    return parse_run_config(settings["run"], source=f"the configuration of {manifest.version}")


def _job(catalog: Catalog, parent: Manifest, manifest: Manifest, state: str | None) -> MergeJob:
    """The round's job from what was published; clipping and everything else is measured again."""
    config = _config(catalog, manifest)
    ordered = sorted(manifest.updates, key=lambda update: update.digest)
    for update in ordered:
        catalog.blob(BlobRef(digest=update.digest, size_bytes=update.size_bytes))
    inputs = tuple(MergeInput(update.digest, update.weight) for update in ordered)
    return MergeJob(parent.model_digest, inputs, state, config.merge, config.release.codec)


def _require_same(manifest: Manifest, candidate: Candidate) -> None:
    assert manifest.patch is not None
    found = (candidate.model_digest, candidate.patch_digest)
    if found != (manifest.model_digest, manifest.patch.digest):
        raise VerificationError(
            f"{manifest.version} computed again is model {found[0][:15]}.. by patch {found[1][:15]}.., published was "
            f"{manifest.model_digest[:15]}.. by {manifest.patch.digest[:15]}..; do not trust this release"
        )
