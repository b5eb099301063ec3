"""From a candidate that passed to a release: version, manifest, blobs, tag, signed index.

The tag is one ledger transaction. Blobs are put in place before it and the index after it,
both derived from what the ledger holds, so a crash in between leaves nothing to repair: the
same action writes the same bytes again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from barnraise.digest import canonical_json
from barnraise.message import BlobRef
from barnraise.promises import difference, promises_of
from barnraise.protocol import mask_ref
from barnraise.releases.keyframe import write_keyframe
from barnraise.releases.manifest import AcceptedRegression, Manifest, MergedUpdate, ParentRef, Remerged
from barnraise.releases.publish import store_blob, store_manifest, tensor_entries
from barnraise.releases.repository import Repository
from barnraise.versions import Change, VersionDecision, next_version, parse_version
from coordinator.acceptance.hidden.telling import told_of
from coordinator.acceptance.promised import with_questions
from coordinator.acceptance.suite import judge_models
from coordinator.card import describe
from coordinator.conductor.desk import Desk
from coordinator.conductor.merging import inputs_of
from coordinator.conductor.work import FirstModel
from coordinator.ledger import TRUNK, Ledger, ReleaseRow
from coordinator.ledger.events import ChannelMoved, Event, ReleaseTagged, UpdateMerged
from coordinator.ledger.order_events import OrderSettled, UpdateReverted
from coordinator.listing import accepted_in, index_of
from coordinator.orders.accepting import failing
from coordinator.round import Round
from coordinator.round_events import Tag

__all__ = ["CHANNEL", "Draft", "Publisher", "Remade"]

CHANNEL = TRUNK
_log = logging.getLogger("barnraise.conductor")
REASON_MAX = 4096


@dataclass(frozen=True)
class Draft:
    """A release that is ready to be tagged: its version, and the events that tag it."""

    version: str
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Remade:
    """What a release without updates of its parent is made of.

    Attributes:
        parent: the newest release of the trunk. summary: the tests of the model against it.
        manifest: what was left out, why, and how model and tests changed.
    """

    parent: ReleaseRow
    model_digest: str
    state_digest: str | None
    summary: dict[str, Any]
    manifest: Remerged


@dataclass(frozen=True)
class Publisher:
    """Makes a run's releases. ``clock`` gives milliseconds since the epoch, for signatures only."""

    desk: Desk
    ledger: Ledger
    repository: Repository
    clock: Callable[[], int]

    def first(self, model: FirstModel, created_at_ms: int) -> Draft:
        """Release 0.1.0: the initial weights as a keyframe, with what was measured of them."""
        suite = self.desk.config.acceptance
        known = self.desk.all_measured(model.model_digest, suite.tests)
        made = _Made(
            decision=next_version(None, Change()),
            parent=None,
            round=0,
            model_digest=model.model_digest,
            keyframe=BlobRef(digest=model.keyframe_digest, size_bytes=model.keyframe_bytes),
            patch=None,
            state_digest=None,
            created_at_ms=created_at_ms,
            summary=_alone(with_questions(suite, told_of(judge_models(suite, known, known), suite).summary())),
            suite=suite.digest,
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
        tested = self.ledger.round(current.number)
        assert tested is not None
        assert tested.verdict is not None
        accepted = self._accepted(current, tested.verdict["tests"])
        summary = _with_accepted(tested.verdict["tests"], accepted)
        decision = self._decided(parent, summary, accepted)
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
            suite=tested.verdict.get("suite") or desk.config.acceptance.digest,
            updates=updates,
        )
        merged: list[Event] = [UpdateMerged(u.digest, current.number, decision.version, u.weight) for u in updates]
        if current.accepted_by is not None:
            merged.append(OrderSettled(current.accepted_by, True, *_used(decision, parent, accepted)))
        old = self.ledger.channels().get(CHANNEL)
        return Draft(decision.version, (self._tagged(made), *merged, ChannelMoved(CHANNEL, old, decision.version)))

    def remerged(self, remade: Remade, accepted: Mapping[str, str], created_at_ms: int) -> Draft:
        """The release without updates that its parent has, as a keyframe of its own.

        Where a weight crosses zero no float32 difference leads from parent to release bit for bit, and a difference
        of all elements has as many bytes as the elements; so it has no patch.

        Args:
            accepted: test -> why its getting worse was accepted.
        """
        desk, parent, made_without = self.desk, remade.parent, remade.manifest
        keyframe = write_keyframe(desk.space, desk.models.verified(remade.model_digest))
        suite = desk.config.acceptance
        summary = _with_accepted(with_questions(suite, remade.summary), accepted)
        made = _Made(
            decision=self._decided(parent, summary, accepted),
            parent=parent,
            round=0,
            model_digest=remade.model_digest,
            keyframe=store_blob(desk.public, keyframe),
            patch=None,
            state_digest=remade.state_digest,
            created_at_ms=created_at_ms,
            summary=summary,
            suite=suite.digest,
            updates=(),
            remerged=made_without,
        )
        version = made.decision.version
        gone = [UpdateReverted(digest, version, made_without.reason) for digest in made_without.left_out]
        gone += [UpdateReverted(digest, version, "too few were left of its round") for digest in made_without.dropped]
        return Draft(version, (self._tagged(made), *gone, ChannelMoved(CHANNEL, parent.version, version)))

    def write_index(self) -> int:
        """Publish the index anew from the ledger; returns when :meth:`renew` is due, in milliseconds."""
        return self.repository.publish(index_of(self.ledger, self.desk.public), self.clock())

    def renew(self) -> int:
        """Sign anew what is soon to expire, though nothing was released; returns when to do so next.

        What somebody removed or damaged meanwhile is published anew. What only maintainers can renew is told in the
        log while there is time.
        """
        if (words := self.repository.ending(self.clock())) is not None:
            _log.warning("%s", words)
        return self.repository.renew(self.clock()) if self.repository.is_published else self.write_index()

    def _tagged(self, made: _Made) -> ReleaseTagged:
        """Store the manifest and all that it names; return the tag."""
        decision = made.decision
        return ReleaseTagged(
            version=decision.version,
            parent=made.parent.version if made.parent else None,
            model_digest=made.model_digest,
            manifest_digest=store_manifest(self.desk.public, self._manifest(made)).digest,
            round=made.round,
            bump=decision.bump,
            reason=decision.reason,
            keyframe=made.keyframe.model_dump() if made.keyframe else None,
            patch=made.patch.model_dump() if made.patch else None,
            state_digest=made.state_digest,
            created_at_ms=made.created_at_ms,
            summary=made.summary,
            reverts=list(made.remerged.left_out) if made.remerged else [],
        )

    def _manifest(self, made: _Made) -> Manifest:
        """Store report, configuration, card and lineage; return the manifest, which names them."""
        desk, decision = self.desk, made.decision
        told = {"suite": made.suite, "version": decision.version, "tests": made.summary}
        report = {"held_out": desk.held_out_digest, **told}
        settings = {"run": desk.config.model_dump(mode="json"), "held_out": desk.held_out_digest}
        settings |= {"suite": desk.config.acceptance.digest, "draw_anchor": desk.chain.anchor.hex()}
        left_out = made.remerged.left_out if made.remerged is not None else ()
        parent, described = made.parent, describe(desk, self.ledger, made, left_out)
        return Manifest(
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
            mask=mask_ref(desk.config.update),
            licence=desk.config.licence,
            round=made.round,
            bump=decision.bump,
            reason=decision.reason,
            suite=made.suite,
            supported_tests=tuple(promises_of(made.summary)),
            accepted=tuple(
                AcceptedRegression(test=name, reason=why) for name, why in accepted_in(made.summary).items()
            ),
            created_at_ms=made.created_at_ms,
            remerged=made.remerged,
        )

    def _decided(self, parent: ReleaseRow, summary: dict[str, Any], accepted: Mapping[str, str]) -> VersionDecision:
        """The number above all others: also where the trunk goes on from a release that is not the newest.

        What the parent promises and what the newest release promises must both be kept, yanked or not: whoever has
        one of them may follow a range to this one, and a yanked release may be one of them again.
        """
        releases = self.ledger.releases()
        newest = max(releases, key=lambda release: parse_version(release.version))
        before = [promises_of(release.summary) for release in (parent, newest)]
        change = Change(
            tests=difference(before, promises_of(summary)),
            regressions_accepted=accepted,
            promoted=any(release.promoted_at_ms is not None for release in releases),
        )
        decision = next_version(newest.version, change)
        goes_on = "" if newest.version == parent.version else f"; it goes on from {parent.version}"
        return replace(decision, reason=decision.reason[: REASON_MAX - len(goes_on)] + goes_on)

    def _accepted(self, current: Round, summary: Mapping[str, Any]) -> dict[str, str]:
        """Test -> why its getting worse was accepted, of a candidate that was not released for passing."""
        if current.accepted_by is None:
            return {}
        row = self.ledger.order(current.accepted_by)
        assert row is not None
        return dict.fromkeys(failing(summary), row.order["reason"])

    def _merged_updates(self, number: int, merge_set: Sequence[str]) -> tuple[MergedUpdate, ...]:
        wanted = set(merge_set)
        rows = [row for row in self.ledger.updates(round=number) if row.digest in wanted]
        by_digest = {row.digest: row for row in rows}
        inputs = inputs_of(self.desk.config.merge, rows)
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
    suite: str
    updates: tuple[MergedUpdate, ...]
    remerged: Remerged | None = None


def _alone(summary: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The numbers of a model that has no base: its means, and nothing to compare them with."""
    nothing = {"base_mean": None, "effect": None, "low": None, "high": None, "confidence": None, "p": None}
    return {name: {**row, **nothing} for name, row in summary.items()}


def _with_accepted(summary: Mapping[str, Mapping[str, Any]], accepted: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The numbers, and beside those of a test that got worse why that was accepted."""
    return {
        name: {**row, **({"accepted": accepted[name]} if name in accepted else {})} for name, row in summary.items()
    }


def _used(decision: VersionDecision, parent: ReleaseRow, accepted: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """What an order led to that accepted a regression."""
    worse = "; ".join(f"{name} is worse than in {parent.version}: {why}" for name, why in accepted.items())
    return f"{decision.version} is released; {worse}", {"version": decision.version, "accepted": dict(accepted)}
