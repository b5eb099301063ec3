"""How much does a run of a hundred releases store? One of the questions of storage.py.

Contributors train, updates are compressed, merged and published by the run's own code; only evaluation is made up.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from settings import TOPK_256
from storage_family import Trainer

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.corpus import Corpus
from barnraise.digest import digest_bytes
from barnraise.identity import Identity
from barnraise.model_config import ByteLMConfig
from barnraise.releases.catalog import Catalog
from barnraise.releases.index import ReleaseIndex
from barnraise.releases.keyframe import keyframe_size, write_keyframe
from barnraise.releases.plan import make_plan
from barnraise.releases.rebuild import rebuild
from barnraise.releases.repository import Repository
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates import write_update
from barnraise.updates.scope import Scope
from coordinator.acceptance.heldout import HeldOut
from coordinator.acceptance.kinds import Measured
from coordinator.acceptance.measuring import Part
from coordinator.acceptance.promised import with_questions
from coordinator.acceptance.suite import judge_models
from coordinator.conductor.desk import Desk
from coordinator.conductor.merging import MergeJob, plan_inputs
from coordinator.conductor.pool import InlinePool
from coordinator.conductor.steps import merge_now
from coordinator.conductor.work import first_model
from coordinator.ledger import Ledger
from coordinator.ledger.events import (
    ContributorSeen,
    LeaseGranted,
    RoundOpened,
    RoundTested,
    RunCreated,
    UpdateChecked,
    UpdateReceived,
)
from coordinator.listing import index_of
from coordinator.publish import Publisher
from coordinator.round import Round
from coordinator.round_events import Tag
from merge.compress import compress

__all__ = ["trunk"]

CONTRIBUTORS = 4
WINDOWS = 256
KEY = "{:064x}"


class Run:
    """A run's folder, driven without processes: what is stored is what ``barnraise serve`` would store."""

    def __init__(self, root: Path, config: RunConfig) -> None:
        self.config = config
        self.folder = RunFolder(root)
        self.folder.create()
        self.folder.config.write_bytes(TOPK_256.read_bytes())
        Identity.load_or_create(self.folder.key)
        self.ledger = Ledger.open(self.folder.ledger)
        held_out = BlobStore(self.folder.private).put(HeldOut.draw(Corpus.of(config.data), config).serialise())
        created = RunCreated(config.name, config.digest, config.model_dump(mode="json"), KEY.format(0), held_out)
        self.ledger.record(created, at_ms=now_ms())
        self.desk = Desk(root, config, held_out)
        self.publisher = Publisher(self.desk, self.ledger, Repository.found(self.folder, config.name, now_ms()), now_ms)
        self.trainers = [
            Trainer(config, self.desk.space, shard, seed)
            for seed, shard in enumerate(list(config.data.shards)[:CONTRIBUTORS])
        ]
        self.residuals = [np.zeros(self.desk.space.size, dtype=np.float32) for _ in self.trainers]
        first = first_model(self.desk)
        self._score(first.model_digest, 0)
        self.ledger.record(*self.publisher.first(first, now_ms()).events, at_ms=now_ms())
        self.publisher.write_index()

    def release(self, number: int, steps: int) -> None:
        """One round: train, compress, merge, tag, publish."""
        base = self.ledger.newest_release()
        assert base is not None
        current = Round(number, base.version, base.model_digest)
        self.ledger.record(RoundOpened(number, base.version, base.model_digest), at_ms=now_ms())
        base_P = np.array(self.desk.models.verified(base.model_digest))
        digests = [self._update(who, current, base_P, steps) for who in range(len(self.trainers))]
        job = MergeJob(
            base_digest=base.model_digest,
            inputs=plan_inputs(self.config.merge, [(digest, 1000) for digest in digests]),
            state_digest=base.state_digest,
            merge=self.config.merge,
            codec=self.config.release.codec,
            patch=Scope.in_turn(self.config.release.turns, number),
        )
        candidate = merge_now(self.desk.bench, job, InlinePool(), 600.0).candidate
        self._score(candidate.model_digest, number)
        suite = self.config.acceptance
        was, found = (self.desk.all_measured(one, suite.tests) for one in (base.model_digest, candidate.model_digest))
        verdict = judge_models(suite, was, found)
        summary = with_questions(suite, verdict.summary())
        tested = RoundTested(number, verdict.passed, verdict.reason, summary, {}, suite.digest)
        self.ledger.record(tested, at_ms=now_ms())
        draft = self.publisher.draft(current, Tag(candidate, tuple(digests), now_ms()))
        self.ledger.record(*draft.events, at_ms=now_ms())
        self.publisher.write_index()
        head = self.ledger.head()
        assert head is not None
        self.desk.tidy(self.ledger.releases(), head)

    def _update(self, who: int, current: Round, base_P: NDArray[np.float32], steps: int) -> str:
        space, codec, decay = self.desk.space, self.config.update.codec, self.config.update.residual_decay
        wanted_P = self.trainers[who].trained(base_P, steps) - base_P + np.float32(decay) * self.residuals[who]
        segments, residual_P = compress(torch.from_numpy(wanted_P), space, codec)
        self.residuals[who] = residual_P.numpy()
        data = write_update(space, current.base_digest, codec, segments, role="update")
        digest, key = self.desk.private.put(data), KEY.format(who + 1)
        lease, nonce = digest_bytes(f"{who}/{current.number}".encode())[3:35], digest[3:35]
        self.ledger.record(
            ContributorSeen(key, f"contributor-{who}"),
            LeaseGranted(
                lease_id=lease,
                contributor=key,
                round=current.number,
                base_version=current.base_version,
                base_digest=current.base_digest,
                shard="text",
                nonce=lease,
                issued_at_ms=now_ms(),
                expires_at_ms=now_ms() + 60_000,
            ),
            UpdateReceived(
                digest,
                key,
                lease,
                current.number,
                current.base_digest,
                len(data),
                1000,
                steps,
                {"body": {"nonce": nonce}},
            ),
            UpdateChecked(digest, current.number, [0.0] * space.segment_count, "made up", {}),
            at_ms=now_ms(),
        )
        return digest

    def _score(self, digest: str, number: int) -> None:
        """Scores that get better with every release, so that the tests pass."""
        draws = np.random.default_rng(1)
        for test in self.desk.config.acceptance.tests:
            bits_N = 5.0 + 0.1 * draws.standard_normal(test.examples) - 0.01 * number
            right_N = (bits_N < 4.95 + 0.001 * number).astype(np.float64)
            self.desk.keep_measured(digest, Part(test), Measured(bits_N if test.kind == "loss" else right_N))


def trunk(folder: Path, releases: int, steps: int, model: ByteLMConfig | None) -> list[str]:
    """Make a run of so many releases, and weigh its folder."""
    config = load_run_config(TOPK_256)
    config = config.model_copy(update={"model": model}) if model else config
    run = Run(folder / "run", config)
    began = time.perf_counter()
    for number in range(1, releases):
        run.release(number, steps)
    seconds = time.perf_counter() - began
    index = index_of(run.ledger, run.desk.public)
    catalog = Catalog(FolderSource(run.folder.root), index, run.desk.public)
    whole = keyframe_size(run.desk.space)
    zstd = []
    for entry in index.releases[:: max(1, releases // 10)]:
        flat_P = rebuild(catalog, make_plan(index, entry.version), catalog.manifest(entry))  # compares every tensor
        zstd.append(len(zstandard.ZstdCompressor(level=3).compress(write_keyframe(run.desk.space, flat_P))))
    parts = weigh(run, index)
    total = sum(parts[name] for name in ("keyframes", "patches", "documents"))
    lines = [
        f"## {releases} releases of one trunk",
        "",
        f"Model: {run.desk.space.size:,} parameters, {whole:,} bytes in float32. Every release merges {CONTRIBUTORS}",
        f"updates of {steps} AdamW steps each, with the settings of `benchmarks/topk_256.toml` (patches: top "
        f"{config.release.codec.k} of 4,096,",
        f"a keyframe every {config.release.keyframe_every} releases). Of every tenth release all tensors were rebuilt "
        "and compared. Making them took",
        f"{seconds:.0f} s.",
        "",
        "| what is kept | bytes | times one release | times smaller than full copies |",
        "|---|---:|---:|---:|",
    ]
    full = releases * whole
    rows = [
        ("full copies, as a large-file store keeps them", full),
        (f"full copies through zstandard (level 3, mean of {len(zstd)})", round(releases * statistics.mean(zstd))),
        ("**all releases: keyframes, patches, documents**", total),
        ("of that: keyframes", parts["keyframes"]),
        ("of that: patches", parts["patches"]),
        ("of that: manifests, cards, lineage, reports", parts["documents"]),
        ("beside them: the merged contributions", parts["contributions"]),
        ("all public blobs, contributions too", parts["public"]),
        ("the whole folder: also ledger, lists, two newest optimiser states and models", parts["folder"]),
    ]
    lines += [f"| {what} | {size:,} | {size / whole:.2f} | {full / size:.1f} |" for what, size in rows]
    run.ledger.close()
    return [*lines, ""]


def weigh(run: Run, index: ReleaseIndex) -> dict[str, int]:
    """Bytes by what they are for."""
    keyframes = {entry.keyframe.digest: entry.keyframe.size_bytes for entry in index.releases if entry.keyframe}
    patches = {entry.patch.digest: entry.patch.size_bytes for entry in index.releases if entry.patch}
    updates = {row.digest: row.size_bytes for row in run.ledger.updates(state="merged")}
    public = sum(blob.size_bytes for blob in run.desk.public.stored())
    parts = {"keyframes": sum(keyframes.values()), "patches": sum(patches.values())}
    files = {(found.st_dev, found.st_ino): found.st_size for found in map(os.stat, every_file(run.folder.root))}
    return {
        **parts,
        "contributions": sum(updates.values()),
        "documents": public - sum(parts.values()) - sum(updates.values()),
        "public": public,
        "folder": sum(files.values()),
    }


def every_file(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())
