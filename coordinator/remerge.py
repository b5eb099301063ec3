"""The line of a release: the merges that lead from the first release to it, and what is left without some updates.

    0.1.0 -- 0.1.1 -- 0.1.2 -- 0.1.3            the line of 0.1.3 has three merges: of 0.1.1, 0.1.2, 0.1.3
                                  \
                                   0.1.4        made as if an update of 0.1.2 had never been merged: its line is
                                                that of its parent 0.1.3 without the update

A merge that would have had too few updates without them would not have been: it drops out as a
whole, as its round would have. Everything here is pure; who has a pool carries it out
(``coordinator.conductor.replay``), the coordinator and ``barnraise recompute`` alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from barnraise.errors import BrokenChainError
from barnraise.message import BlobRef
from barnraise.releases.manifest import Manifest, MergedUpdate

__all__ = ["Known", "Line", "Past", "PastMerge", "lines_of", "nearest", "past_of", "without"]


@dataclass(frozen=True, slots=True)
class PastMerge:
    """A merge as a release's manifest tells it.

    Attributes:
        version: the release that was made of it. made_from: model that its updates are changes of.
        updates: with the weights they had, sorted by digest. needs: with fewer the round had ended without a release.
        config: blob of the configuration that it was merged by. round: its number.
    """

    version: str
    made_from: str
    updates: tuple[MergedUpdate, ...]
    needs: int
    config: BlobRef
    round: int

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(update.digest for update in self.updates)


Line = tuple[PastMerge, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What a manifest says about how its release was made: of a merge, or without updates of its parent's line."""

    version: str
    parent: str | None
    merge: PastMerge | None
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """A place to start from: a model, and what the outer rule and the residual remember there (None: nothing yet)."""

    version: str
    line: Line
    model_digest: str
    state_digest: str | None


def past_of(manifest: Manifest, needs: int) -> Past:
    """How a release was made.

    Args:
        needs: ``round.min_updates`` of its configuration.
    """
    if manifest.parent is None:
        return Past(manifest.version, None, None)
    parent = manifest.parent
    if manifest.remerged is not None:
        return Past(manifest.version, parent.version, None, frozenset(manifest.remerged.left_out))
    updates = tuple(sorted(manifest.updates, key=lambda update: update.digest))
    merge = PastMerge(manifest.version, parent.model_digest, updates, needs, manifest.config, manifest.round)
    return Past(manifest.version, parent.version, merge)


def lines_of(version: str, past: Callable[[str], Past]) -> dict[str, Line]:
    """The line of a release and of each of its ancestors, oldest first: the merges that make it of the first one.

    Raises:
        BrokenChainError: a release is its own ancestor.
    """
    chain = [past(version)]
    seen = {version}
    while (parent := chain[-1].parent) is not None:
        if parent in seen:
            raise BrokenChainError(f"{parent} is given as its own ancestor; do not trust these releases")
        seen.add(parent)
        chain.append(past(parent))
    lines: dict[str, Line] = {}
    line: Line = ()
    for one in reversed(chain):
        line = without(line, one.left_out) if one.left_out else line
        line += (one.merge,) if one.merge is not None else ()
        lines[one.version] = line
    return lines


def without(line: Line, left_out: Collection[str]) -> Line:
    """The line as if updates had never been merged."""
    kept = []
    for merge in line:
        rest = tuple(update for update in merge.updates if update.digest not in left_out)
        if len(rest) == len(merge.updates):
            kept.append(merge)
        elif len(rest) >= merge.needs:
            kept.append(replace(merge, updates=rest))
    return tuple(kept)


def nearest(line: Line, known: Iterable[Known]) -> Known:
    """Where to start from: the longest line that ``line`` begins with.

    Args:
        known: among them the first release, whose line has no merge.
    """
    return max((one for one in known if line[: len(one.line)] == one.line), key=lambda one: len(one.line))
