"""A plausible run in a ledger, without Ray: 40 releases, some 200 updates, rejected rounds, a round that collects.

Everything follows from a seed, so that pages and screenshots are the same every time. Manifests, cards and lineage
entries are real blobs; the tensors in them are not: nothing here is pulled.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from barnraise.config import RunConfig, bundled_config, load_run_config
from barnraise.digest import canonical_json, digest_bytes
from barnraise.identity import Identity
from barnraise.message import BlobRef
from barnraise.releases.lineage import Lineage, LineageChange, LineageParent
from barnraise.releases.manifest import Manifest, MergedUpdate, ParentRef, TensorEntry
from barnraise.releases.publish import store_blob, store_manifest
from barnraise.releases.repository import Repository
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates import ParameterSpace, TensorSpec, model_digest
from coordinator.gateway import GatewayState
from coordinator.ledger import Ledger
from coordinator.ledger.events import (
    ChannelMoved,
    ContributorSeen,
    Event,
    LeaseGranted,
    ReleaseTagged,
    RoundMerged,
    RoundMoved,
    RoundOpened,
    RoundTested,
    RunCreated,
    UpdateChecked,
    UpdateMerged,
    UpdateReceived,
    UpdateRejected,
    UpdateUnmerged,
)
from coordinator.ledger.order_events import ContributorBanned, ReleasePromoted, ReleaseYanked
from fresh_ledger import fresh_ledger

__all__ = ["START_MS", "SeededRun", "seeded_run"]

START_MS = 1_790_000_000_000
MINUTE = 60_000
NAMES = ("ada", "barbara", "grace", "Zoe \N{LATIN SMALL LETTER E WITH ACUTE}", "katherine", "mallory", "hedy", "radia")
POISONER = "mallory"
SHARDS = ("concurrency", "text", "tools", "system")
TESTS = ("loss-concurrency", "loss-text", "loss-tools", "loss-system", "next-byte")
SHAPES = [("blocks.0.attention.weight", (768, 256)), ("blocks.0.ffn.weight", (640, 256)), ("embedding", (256, 256))]
SPACE = ParameterSpace.of([TensorSpec(name, shape) for name, shape in sorted(SHAPES)])


@dataclass
class SeededRun:
    """A run that is written event by event; ``now_ms`` moves as it goes on."""

    folder: RunFolder
    ledger: Ledger
    config: RunConfig
    draws: Random
    names: tuple[str, ...] = NAMES
    now_ms: int = START_MS
    losses: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TESTS[:-1], 4.6) | {"next-byte": 0.28})
    version: str | None = None
    patches: int = 0
    _events: list[tuple[int, Event]] = field(default_factory=list)
    _count: int = 0

    @property
    def public(self) -> BlobStore:
        return BlobStore(self.folder.public)

    def state(self) -> GatewayState:
        """What a gateway of this run works with; its clock stands still at the run's end."""
        key = Identity.from_seed(b"k" * 32)
        return GatewayState(self.folder, self.config, self.ledger, key, lambda: self.now_ms)

    def key_of(self, name: str) -> str:
        return digest_bytes(f"key of {name}".encode("utf-8", "surrogatepass")).removeprefix("b3:")

    def says(self, *events: Event, after_ms: int = 0) -> None:
        """Record what happened next."""
        self.now_ms += after_ms
        self.ledger.record(*events, at_ms=self.now_ms)

    # -- rounds -------------------------------------------------------------------------------

    def begins(self) -> None:
        """The run, its contributors, the first release."""
        made = RunCreated(
            self.config.name, self.config.digest, self.config.model_dump(mode="json"), "c" * 64, self._digest()
        )
        self.says(made)
        for name in self.names:
            self.says(ContributorSeen(self.key_of(name), name), after_ms=MINUTE)
        self._release(0, [], self._rows(self.losses, self.losses, True), keyframe=True)

    def round(self, number: int, *, passes: bool = True, size: int = 5, poisoned: bool = False) -> None:
        """One whole round: leases, updates, checks, a merge, tests and an end."""
        before = dict(self.losses)
        self.says(RoundOpened(number, self._base, self._base_digest), after_ms=2 * MINUTE)
        givers = self.draws.sample([name for name in self.names if name != POISONER], size - poisoned)
        updates = [self.sent(number, name) for name in [*givers, *([POISONER] if poisoned else [])]]
        good = [digest for digest, name in updates if name != POISONER]
        merged = [digest for digest, _ in updates] if poisoned and number % 2 else good
        for digest, name in updates:
            self._checked(number, digest, caught=digest not in merged, name=name)
        self._moves(number, "merging", f"{len(merged)} updates checked, no lease is out")
        self.says(RoundMerged(number, f"{len(merged)} updates", self._record(merged), 4200), after_ms=6000)
        self._moves(number, "testing", f"candidate of {len(merged)} updates")
        if merged != good:
            bad = next(iter(set(merged) - set(good)))
            self._tests(number, before, self._worse(before), False)
            self._culprit(number, bad, good)
            self.says(RoundMerged(number, f"{len(good)} updates", self._record(good), 3900), after_ms=6000)
        after = self._better(before) if passes else self._worse(before, by=0.1)
        rows = self._tests(number, before, after, passes)
        if not passes:
            reason = "loss-text is worse by 0.112 bits/byte, more than its margin of 0.05"
            self._moves(number, "rejected", reason)
            lost = [
                UpdateUnmerged(digest, number, f"round {number} was rejected", {}, "round-rejected") for digest in good
            ]
            return self.says(*lost)
        self.losses = after
        return self._release(number, good, rows, keyframe=False)

    def collects(self, number: int) -> None:
        """A round that is open: two have delivered, two train, one was too slow."""
        self.says(RoundOpened(number, self._base, self._base_digest), after_ms=2 * MINUTE)
        for name in self.names[:2]:
            digest, _ = self.sent(number, name)
            self._checked(number, digest, caught=False, name=name)
        self.leases(number, self.names[4], lasts_ms=1000)
        self.now_ms += MINUTE
        for name in self.names[2:4]:
            self.leases(number, name)
        self.now_ms += 75_000

    # -- pieces of a round ------------------------------------------------------------------------

    def _digest(self) -> str:
        self._count += 1
        return digest_bytes(f"thing {self._count}".encode())

    @property
    def _base(self) -> str:
        assert self.version is not None
        return self.version

    @property
    def _base_digest(self) -> str:
        row = self.ledger.release(self._base)
        assert row is not None
        return row.model_digest

    def leases(self, number: int, name: str, lasts_ms: int = 600_000) -> str:
        """Somebody gets a lease; its id."""
        lease = self._digest()[3:35]
        shard = SHARDS[self.names.index(name) % len(SHARDS)]
        granted = LeaseGranted(
            lease, self.key_of(name), number, self._base, self._base_digest, shard,
            self._digest()[3:35], self.now_ms, self.now_ms + lasts_ms, self._node(name, number),
        )  # fmt: skip
        self.says(granted)
        return lease

    def _node(self, name: str, number: int) -> str:
        """Which machine somebody works on: ada has two, the others one."""
        return digest_bytes(f"{name} {number % 2 if name == 'ada' else 0}".encode())[3:35]

    def sent(self, number: int, name: str) -> tuple[str, str]:
        """Somebody gets a lease and delivers; digest and name."""
        lease, digest = self.leases(number, name), self._digest()
        size = self.draws.randint(36_000, 44_000)
        received = UpdateReceived(
            digest, self.key_of(name), lease, number, self._base_digest, size, self.draws.randint(9000, 16_000), 12, {}
        )
        self.says(received, after_ms=self.draws.randint(20, 90) * 1000)
        return digest, name

    def _checked(self, number: int, digest: str, *, caught: bool, name: str) -> None:
        habit = -0.8 if name == POISONER else 0.02 + 0.012 * (sum(map(ord, name)) % 5)
        gain = habit + self.draws.gauss(0, 0.01)
        effect = {"change": -gain, "low": -gain - 0.02, "high": -gain + 0.02, "examples": 32}
        score = {
            "hidden": effect, "own": effect, "public": None, "value": gain, "error": 0.012, "reason": "measured",
        }  # fmt: skip
        worth = f"alone it changes hidden text by {-gain:+.2f} bits/byte"
        evidence: dict[str, Any] = {"windows": 32, "margin": 0.3, "score": score, "worth": worth}
        if caught:
            reason = f"alone it worsens the 32 check windows by {-gain:.3f} bits per byte, more than 0.3"
            self.says(UpdateRejected(digest, number, "check", reason, evidence), after_ms=1500)
        else:
            reason = f"finite, on its base, alone it changes the check windows by {-gain:+.3f} bits per byte"
            self.says(UpdateChecked(digest, number, [1.0, 2.0], reason, evidence), after_ms=1500)

    def _moves(self, number: int, phase: str, reason: str) -> None:
        self.says(RoundMoved(number, phase, reason, {}), after_ms=3000)

    def _record(self, digests: Sequence[str]) -> dict[str, Any]:
        def agreement(cosine: float) -> dict[str, Any]:
            return {"overlap": 0.31, "expected_overlap": 0.0625, "opposed": 0.5 - cosine / 2, "cosine": cosine}

        pairs = [(a, b) for i, a in enumerate(digests) for b in digests[i + 1 :]]
        return {
            "strategy": "mean",
            "options": {},
            "before": [],
            "outer": "outer-nesterov",
            "note": "",
            "updates": [
                {"digest": digest, "weight": 1.0, "clip": 1.0, "share": 1 / len(digests)} for digest in digests
            ],
            "conflicts": {
                "pairs": len(pairs),
                "tensors": len(SHAPES),
                "overall": agreement(0.21),
                "updates": [
                    {"update": digest, "changed": 41_000, "agreement": agreement(0.1 + 0.03 * place)}
                    for place, digest in enumerate(digests)
                ],
                "worst_tensors": [
                    {"tensor": name, "agreement": agreement(0.04 * place)} for place, (name, _) in enumerate(SHAPES)
                ],
                "worst_pairs": [
                    {"first": a, "second": b, "agreement": agreement(0.02 * place)}
                    for place, (a, b) in enumerate(pairs[:4])
                ],
            },
            "recognised": {},
        }

    def _culprit(self, number: int, bad: str, good: Sequence[str]) -> None:
        short = [digest[3:13] for digest in good]
        subsets = [
            {"updates": [*short[:2], bad[3:13]], "passed": False, "reason": "loss-text is worse by 0.742 bits/byte"},
            {"updates": short[:2], "passed": True, "reason": "all 5 supported tests are non-inferior"},
            {"updates": short, "passed": True, "reason": "all 5 supported tests are non-inferior"},
        ]
        reason = f"with it {len(good) + 1} updates fail loss-text, without it {len(good)} pass"
        self.says(UpdateRejected(bad, number, "culprit-search", reason, {"subsets": subsets}), after_ms=9000)

    def _tests(self, number: int, before: dict[str, float], after: dict[str, float], passed: bool) -> dict[str, Any]:
        rows = self._rows(before, after, passed)
        failed = [name for name, row in rows.items() if not row["passed"]]
        reason = "all 5 supported tests are non-inferior (highest corrected p 0.003)"
        if not passed:
            reason = f"{', '.join(failed) or 'loss-text'}: not shown to be non-inferior"
        self.says(RoundTested(number, passed, reason, rows, {}, "b3:" + "5" * 64, 21_000), after_ms=20_000)
        return rows

    def _better(self, before: dict[str, float]) -> dict[str, float]:
        return {
            name: value + (0.004 if name == "next-byte" else -0.055 * (value - 2.2)) + self.draws.gauss(0, 0.006)
            for name, value in before.items()
        }

    def _worse(self, before: dict[str, float], by: float = 0.7) -> dict[str, float]:
        return {name: value + (-0.05 if name == "next-byte" else by) for name, value in before.items()}

    def _rows(self, before: dict[str, float], after: dict[str, float], passed: bool) -> dict[str, Any]:
        rows = {}
        for name in TESTS:
            higher, effect = name == "next-byte", after[name] - before[name]
            half = 0.02 + abs(effect) / 6
            rows[name] = {
                "mean": round(after[name], 3), "base_mean": round(before[name], 3), "effect": round(effect, 3),
                "low": round(effect - half, 3), "high": round(effect + half, 3), "confidence": 0.9, "p": 0.001,
                "passed": passed or higher, "unit": "share" if higher else "bits/byte", "supported": True,
                "n": 256 if higher else 48, "margin": 0.1 if higher else 0.05, "method": "bootstrap",
                "better": "higher" if higher else "lower", "reason": f"{name}: changed by {effect:+.3f}",
            }  # fmt: skip
        return rows

    # -- releases -------------------------------------------------------------------------------

    def _release(self, number: int, updates: Sequence[str], rows: dict[str, Any], *, keyframe: bool) -> None:
        parent = self.ledger.release(self.version) if self.version else None
        major = number == 24
        version = self._next(minor=major) if parent else "0.1.0"
        entries = tuple(
            TensorEntry(name=spec.name, shape=spec.shape, digest=digest_bytes(f"{spec.name} {version}".encode()))
            for spec in SPACE.tensors
        )
        digest = model_digest(SPACE, [entry.digest for entry in entries])
        whole = self._blob(f"keyframe {version}", 4 * SPACE.size) if keyframe else None
        patch = self._blob(f"patch {version}", self.draws.randint(33_000, 39_000)) if parent else None
        bump = "first" if parent is None else "minor" if major else "patch"
        reason = "same architecture and signature, and no supported test is worse"
        rows_of = [self.ledger.update(one) for one in updates]
        merged = tuple(
            MergedUpdate(digest=row.digest, contributor=row.contributor, weight=1.0, size_bytes=row.size_bytes)
            for row in rows_of
            if row is not None
        )
        parent_ref = ParentRef(version=parent.version, model_digest=parent.model_digest) if parent else None
        lineage = Lineage(
            name=self.config.name, version=version, model_digest=digest, round=number, updates=merged, bump=bump,
            parents=(LineageParent(relation="base", name=self.config.name, version=parent.version,
                                   model_digest=parent.model_digest),) if parent else (),
            merged_by=("mean", "outer-nesterov") if parent else (), reason=reason,
            change=LineageChange(parameters=SPACE.size, parameters_changed=SPACE.size // 16 if parent else SPACE.size,
                                 tensors=len(SHAPES), tensors_changed=len(SHAPES)),
        )  # fmt: skip
        card = f"# {self.config.name} {version}\n\nA byte-level model of the standard library.\n"
        manifest = Manifest(
            name=self.config.name, version=version, parent=parent_ref, model_digest=digest, tensors=entries,
            model=self.config.model, keyframe=whole, patch=patch,
            acceptance=store_blob(self.public, canonical_json({"tests": rows})),
            config=store_blob(self.public, canonical_json({"run": version})),
            card=store_blob(self.public, card.encode()), lineage=store_blob(self.public, lineage.canonical()),
            updates=merged, licence=self.config.licence, round=number, bump=bump, reason=reason,
            supported_tests=TESTS, created_at_ms=self.now_ms,
        )  # fmt: skip
        blob = store_manifest(self.public, manifest)
        tagged = ReleaseTagged(
            version, parent.version if parent else None, digest, blob.digest, number, bump, reason,
            whole.model_dump(mode="json") if whole else None, patch.model_dump(mode="json") if patch else None,
            None, self.now_ms, rows,
        )  # fmt: skip
        moves = [UpdateMerged(one, number, version, 1.0) for one in updates]
        ended = [RoundMoved(number, "released", f"released as {version}", {})] if number else []
        self.says(tagged, ChannelMoved("nightly", self.version, version), *moves, *ended, after_ms=2000)
        self.version = version

    def _next(self, minor: bool) -> str:
        major, second, third = map(int, self._base.split("."))
        return f"{major}.{second + 1}.0" if minor else f"{major}.{second}.{third + 1}"

    def _blob(self, what: str, size_bytes: int) -> BlobRef:
        return BlobRef(digest=digest_bytes(what.encode()), size_bytes=size_bytes)


def seeded_run(root: Path, rounds: int = 43, names: tuple[str, ...] = NAMES) -> SeededRun:
    """The run, in ``root``: of 43 rounds 39 are released, 4 rejected; one more collects. Made once, then copied."""
    made = _made(rounds, names)
    shutil.copytree(made.folder.root, root)
    folder = RunFolder(root)
    return replace(made, folder=folder, ledger=fresh_ledger(folder.ledger), losses=dict(made.losses))


@cache
def _made(rounds: int, names: tuple[str, ...]) -> SeededRun:
    place = digest_bytes(f"{rounds} {names}".encode()).removeprefix("b3:")[:12]
    folder = RunFolder(Path(os.environ["BARNRAISE_TESTS_SHARED"]) / f"seeded-{place}")  # conftest.py says where
    folder.create()
    config = load_run_config(bundled_config("stdlib-lm"))
    folder.config.write_text(bundled_config("stdlib-lm").read_text())
    run = SeededRun(folder, fresh_ledger(folder.ledger), config, Random(7), names)
    Repository.found(folder, config.name, START_MS)
    run.begins()
    for number in range(1, rounds + 1):
        rejected = number in (9, 17, 18, 31)
        run.round(number, passes=not rejected, size=4 + number % 3, poisoned=number % 7 == 0)
        run.now_ms += math.ceil(8 * MINUTE * (1 + number % 5))
    if POISONER in names:
        run.says(ContributorBanned(run.key_of(POISONER), START_MS, "six updates were found at fault"), after_ms=MINUTE)
    versions = [row.version for row in run.ledger.releases()]
    if len(versions) > 8:
        run.says(ReleaseYanked(versions[5], "writes the same line again and again"), after_ms=MINUTE)
        run.says(ReleasePromoted(versions[-3]), ChannelMoved("stable", None, versions[-3]), after_ms=MINUTE)
    run.collects(rounds + 1)
    run.ledger.close()
    return run
