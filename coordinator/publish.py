"""From a candidate that passed to a release: version, manifest, blobs, tag, signed index.

The tag is one ledger transaction. Blobs are put in place before it and the index after it,
both derived from what the ledger holds, so a crash in between leaves nothing to repair: the
same action writes the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from barnraise.digest import canonical_json
from barnraise.protocol import BlobRef
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.keyframe import write_keyframe
from barnraise.releases.manifest import Manifest, MergedUpdate, ParentRef
from barnraise.releases.publish import store_blob, store_manifest, tensor_entries
from barnraise.releases.repository import Repository
from barnraise.versions import Change, VersionDecision, next_version
from coordinator.acceptance.suite import judge_models
from coordinator.card import describe
from coordinator.conductor.desk import Desk
from coordinator.conductor.merging import plan_inputs
from coordinator.conductor.work import FirstModel
from coordinator.ledger import Ledger, ReleaseRow
from coordinator.ledger.events import ChannelMoved, Event, ReleaseTagged, UpdateMerged
from coordinator.round import Round, Tag

__all__ = ["CHANNEL", "Draft", "Publisher"]

CHANNEL = "nightly"


@dataclass(frozen=True)
class Draft:
    """A release that is ready to be tagged: its version, and the events that tag it."""

    version: str
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Publisher:
    """Makes a run's releases. ``clock`` gives milliseconds since the epoch, for signatures only."""

    desk: Desk
    ledger: Ledger
    repository: Repository
    clock: Callable[[], int]

    def first(self, model: FirstModel, created_at_ms: int) -> Draft:
        """Release 0.1.0: the initial weights as a keyframe, with what they score."""
        known = self.desk.known_scores(model.model_digest)
        made = _Made(
            decision=next_version(None, Change()),
            parent=None,
            round=0,
            model_digest=model.model_digest,
            keyframe=BlobRef(digest=model.keyframe_digest, size_bytes=model.keyframe_bytes),
            patch=None,
            state_digest=None,
            created_at_ms=created_at_ms,
            summary=_alone(judge_models(self.desk.config.acceptance, known, known).summary()),
            updates=(),
        )
        return Draft(made.decision.version, (self._tagged(made), ChannelMoved(CHANNEL, None, made.decision.version)))

    def draft(self, current: Round, tag: Tag) -> Draft:
        """The release that a round's candidate becomes. The same round gives the same draft.

        Puts the blobs of the release where they are served from; the events are the caller's to record.
        """
        parent = self.ledger.release(current.base_version)
        assert parent is not None
        candidate, desk = tag.candidate, self.desk
        verdict = judge_models(
            desk.config.acceptance,
            desk.known_scores(parent.model_digest),
            desk.known_scores(candidate.model_digest),
        )
        summary = verdict.summary()
        decision = next_version(parent.version, _change(parent, summary))
        updates = self._merged_updates(current.number, tag.merge_set)
        for update in updates:
            desk.public.link_from(desk.private, update.digest)
        desk.public.link_from(desk.private, candidate.patch_digest)
        made = _Made(
            decision=decision,
            parent=parent,
            round=current.number,
            model_digest=candidate.model_digest,
            keyframe=self._keyframe_if_due(candidate.model_digest),
            patch=BlobRef(digest=candidate.patch_digest, size_bytes=candidate.patch_bytes),
            state_digest=candidate.state_digest,
            created_at_ms=tag.decided_at_ms,
            summary=summary,
            updates=updates,
        )
        merged = [UpdateMerged(u.digest, current.number, decision.version, u.weight) for u in updates]
        old = self.ledger.channels().get(CHANNEL)
        return Draft(decision.version, (self._tagged(made), *merged, ChannelMoved(CHANNEL, old, decision.version)))

    def write_index(self) -> int:
        """Publish the index anew from the ledger; returns when :meth:`renew` is due, in milliseconds."""
        index = ReleaseIndex(
            name=self.desk.config.name,
            releases=tuple(self._entry(release) for release in self.ledger.releases()),
            channels=self.ledger.channels(),
        )
        return self.repository.publish(index, self.clock())

    def renew(self) -> int:
        """Sign anew what is soon to expire, though nothing was released; returns when to do so next."""
        return self.repository.renew(self.clock())

    def _entry(self, release: ReleaseRow) -> IndexEntry:
        size_bytes = self.desk.public.size(release.manifest_digest)
        return IndexEntry(
            version=release.version,
            model_digest=release.model_digest,
            manifest=BlobRef(digest=release.manifest_digest, size_bytes=size_bytes),
            parent=release.parent,
            keyframe=BlobRef.read(release.keyframe) if release.keyframe else None,
            patch=BlobRef.read(release.patch) if release.patch else None,
            yanked=release.yanked,
        )

    def _tagged(self, made: _Made) -> ReleaseTagged:
        """Store report, configuration, card, lineage and manifest; return the tag."""
        desk, decision = self.desk, made.decision
        report = {"held_out": desk.held_out_digest, "version": decision.version, "tests": made.summary}
        settings = {"run": desk.config.model_dump(mode="json"), "held_out": desk.held_out_digest}
        parent, described = made.parent, describe(desk, self.ledger, made)
        manifest = Manifest(
            name=desk.config.name,
            version=decision.version,
            parent=ParentRef(version=parent.version, model_digest=parent.model_digest) if parent else None,
            model_digest=made.model_digest,
            tensors=tensor_entries(desk.space, desk.models.verified(made.model_digest)),
            model=desk.config.model,
            keyframe=made.keyframe,
            patch=made.patch,
            acceptance=store_blob(desk.public, canonical_json(report)),
            config=store_blob(desk.public, canonical_json(settings)),
            card=described.card,
            lineage=described.lineage,
            files=described.files,
            updates=made.updates,
            licence=desk.config.licence,
            round=made.round,
            bump=decision.bump,
            reason=decision.reason,
            supported_tests=tuple(_supported(made.summary)),
            created_at_ms=made.created_at_ms,
        )
        return ReleaseTagged(
            version=decision.version,
            parent=parent.version if parent else None,
            model_digest=made.model_digest,
            manifest_digest=store_manifest(desk.public, manifest).digest,
            round=made.round,
            bump=decision.bump,
            reason=decision.reason,
            keyframe=made.keyframe.model_dump() if made.keyframe else None,
            patch=made.patch.model_dump() if made.patch else None,
            state_digest=made.state_digest,
            created_at_ms=made.created_at_ms,
            summary=made.summary,
        )

    def _merged_updates(self, number: int, merge_set: Sequence[str]) -> tuple[MergedUpdate, ...]:
        wanted = set(merge_set)
        rows = [row for row in self.ledger.updates(round=number) if row.digest in wanted]
        by_digest = {row.digest: row for row in rows}
        inputs = plan_inputs(self.desk.config.merge, [(row.digest, row.tokens) for row in rows])
        return tuple(
            MergedUpdate(
                digest=item.digest,
                contributor=by_digest[item.digest].contributor,
                weight=item.weight,
                size_bytes=by_digest[item.digest].size_bytes,
            )
            for item in inputs
        )

    def _keyframe_if_due(self, digest: str) -> BlobRef | None:
        """Every ``keyframe_every`` releases the whole model is stored, so that chains stay short."""
        if len(self.ledger.releases()) % self.desk.config.release.keyframe_every:
            return None
        return store_blob(self.desk.public, write_keyframe(self.desk.space, self.desk.models.verified(digest)))


@dataclass(frozen=True)
class _Made:
    """A release before it has a manifest."""

    decision: VersionDecision
    parent: ReleaseRow | None
    round: int
    model_digest: str
    keyframe: BlobRef | None
    patch: BlobRef | None
    state_digest: str | None
    created_at_ms: int
    summary: dict[str, Any]
    updates: tuple[MergedUpdate, ...]


def _alone(summary: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The numbers of a model that has no base: its means, and nothing to compare them with."""
    nothing = {"base_mean": None, "effect": None, "low": None, "high": None, "confidence": None, "p": None}
    return {name: {**row, **nothing} for name, row in summary.items()}


def _supported(summary: dict[str, Any]) -> list[str]:
    return sorted(name for name, row in summary.items() if row["supported"])


def _change(parent: ReleaseRow, summary: dict[str, Any]) -> Change:
    """What a round can change of a release: its weights, and the tests that it supports."""
    before, after = set(_supported(parent.summary)), set(_supported(summary))
    return Change(tests_added=tuple(sorted(after - before)), tests_dropped=tuple(sorted(before - after)))
