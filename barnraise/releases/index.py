"""The two signed lists that lead to everything else: all releases, and those that maintainers promoted.

The index is signed online and says what there is and where channels point. The stable list is
signed offline by a threshold of maintainers. :func:`check_promises` is what an index may not
do on its own: point ``stable`` at a release that was not promoted, or pass another one off
under a promoted number.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from barnraise.errors import NoSuchVersionError, VerificationError
from barnraise.message import BlobRef, Digest, Message
from barnraise.releases.manifest import ReleaseVersion, RunName
from barnraise.versions import is_channel

__all__ = ["STABLE_CHANNEL", "DerivedEntry", "IndexEntry", "Promotion", "ReleaseIndex", "StableList", "check_promises"]

STABLE_CHANNEL = "stable"


class IndexEntry(Message):
    """What planning a pull needs to know of a release.

    Attributes:
        parent: version of the release that ``patch`` is against.
        yanked: why nobody should start to use it, or None.
        reverts: updates of its parent that it was made without.
        reverted_in: the newest release that was made without an update which this one merged.
        accepted: test -> why it was released though that got worse.
    """

    kind: ClassVar[str] = "index-entry"
    version: ReleaseVersion
    model_digest: Digest
    manifest: BlobRef
    parent: ReleaseVersion | None
    keyframe: BlobRef | None
    patch: BlobRef | None
    yanked: Annotated[str, Field(max_length=1024)] | None = None
    reverts: tuple[Digest, ...] = ()
    reverted_in: ReleaseVersion | None = None
    accepted: dict[str, Annotated[str, Field(max_length=1024)]] = Field(default_factory=dict)


class DerivedEntry(Message):
    """A version of a derived model: a child of the trunk that the run lists and keeps.

    Attributes:
        parent_name, parent_version: what it comes from: a release, or another derived model.
    """

    kind: ClassVar[str] = "derived-entry"
    name: RunName
    version: ReleaseVersion
    model_digest: Digest
    manifest: BlobRef
    parent_name: RunName
    parent_version: ReleaseVersion


class ReleaseIndex(Message):
    """All releases, oldest first. The same ledger gives the same bytes.

    Attributes:
        channels: channel -> version.
        moved: channel -> why it is there, where it was moved and did not follow a new release.
        derived: models that come from these releases, in the order of their import.
    """

    kind: ClassVar[str] = "release-index"
    format: Literal[1] = 1
    name: RunName
    releases: tuple[IndexEntry, ...]
    channels: dict[str, ReleaseVersion] = Field(default_factory=dict)
    moved: dict[str, Annotated[str, Field(max_length=4096)]] = Field(default_factory=dict)
    derived: tuple[DerivedEntry, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        versions = {entry.version for entry in self.releases}
        if len(versions) != len(self.releases):
            raise ValueError("a version is listed twice")
        for channel, version in self.channels.items():
            if not is_channel(channel) or version not in versions:
                raise ValueError(f"channel {channel[:32]!a} is malformed or points to no release")
        if len({(entry.name, entry.version) for entry in self.derived}) != len(self.derived):
            raise ValueError("a version of a derived model is listed twice")
        if any(entry.name == self.name for entry in self.derived):
            raise ValueError("a derived model has the trunk's name")
        return self

    @property
    def yanked(self) -> dict[str, str | None]:
        """Version -> why it was yanked or None, as :func:`barnraise.versions.select` wants it."""
        return {entry.version: entry.yanked for entry in self.releases}

    def entry(self, version: str) -> IndexEntry:
        """The release with exactly this version.

        Raises:
            NoSuchVersionError: there is none.
        """
        for entry in self.releases:
            if entry.version == version:
                return entry
        raise NoSuchVersionError(f"{self.name} has no release {version[:32]!a}; see: barnraise ls")


class Promotion(Message):
    """A release that maintainers stand for: exactly this model, described by exactly this manifest."""

    kind: ClassVar[str] = "promotion"
    version: ReleaseVersion
    model_digest: Digest
    manifest: BlobRef


class StableList(Message):
    """The promoted releases, in the order in which they were promoted."""

    kind: ClassVar[str] = "stable-list"
    format: Literal[1] = 1
    name: RunName
    promoted: tuple[Promotion, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len({promotion.version for promotion in self.promoted}) != len(self.promoted):
            raise ValueError("a version is promoted twice")
        return self

    def get(self, version: str) -> Promotion | None:
        """The promotion of a version, if it was promoted."""
        return next((promotion for promotion in self.promoted if promotion.version == version), None)


def check_promises(index: ReleaseIndex, stable: StableList | None) -> None:
    """Hold the index, which is signed online, against what maintainers signed.

    Raises:
        VerificationError: another run's list, a promoted version that is another release in the
            index, or a channel ``stable`` that points at one that was not promoted.
    """
    promoted = stable or StableList(name=index.name)
    if promoted.name != index.name:
        raise VerificationError(
            f"the list of promoted releases is one of {promoted.name}, the index one of {index.name}; nothing of "
            "either was used. Use another mirror"
        )
    for entry in index.releases:
        promotion = promoted.get(entry.version)
        if promotion and (promotion.manifest, promotion.model_digest) != (entry.manifest, entry.model_digest):
            raise VerificationError(
                f"the index says that {entry.version} is model {entry.model_digest[:15]}.., maintainers promoted "
                f"{promotion.model_digest[:15]}..; whoever made this index is not to be trusted. Tell the operator"
            )
    pointer = index.channels.get(STABLE_CHANNEL)
    if pointer is not None and promoted.get(pointer) is None:
        raise VerificationError(
            f"the index points channel {STABLE_CHANNEL} at {pointer}, which no maintainer promoted; whoever made "
            "this index is not to be trusted. Tell the operator"
        )
