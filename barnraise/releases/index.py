"""The signed list of all releases and channels: the one file of a mirror that ever changes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from barnraise.errors import NoSuchVersionError
from barnraise.protocol import BlobRef, Count, Digest, Key, Message, Millis
from barnraise.releases.manifest import ReleaseVersion, RunName
from barnraise.versions import is_channel

__all__ = ["IndexEntry", "ReleaseIndex"]


class IndexEntry(Message):
    """What planning a pull needs to know of a release.

    Attributes:
        parent: version of the release that ``patch`` is against.
        yanked: why nobody should start to use it, or None.
    """

    kind: ClassVar[str] = "index-entry"
    version: ReleaseVersion
    model_digest: Digest
    manifest: BlobRef
    parent: ReleaseVersion | None
    keyframe: BlobRef | None
    patch: BlobRef | None
    yanked: Annotated[str, Field(max_length=1024)] | None = None


class ReleaseIndex(Message):
    """All releases, oldest first. Signed by the coordinator.

    Attributes:
        serial: grows with every change, so that an older list is recognised as such.
        channels: channel -> version.
    """

    kind: ClassVar[str] = "release-index"
    format: Literal[1] = 1
    name: RunName
    serial: Count
    at_ms: Millis
    coordinator_key: Key
    releases: tuple[IndexEntry, ...]
    channels: dict[str, ReleaseVersion] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        versions = {entry.version for entry in self.releases}
        if len(versions) != len(self.releases):
            raise ValueError("a version is listed twice")
        for channel, version in self.channels.items():
            if not is_channel(channel) or version not in versions:
                raise ValueError(f"channel {channel[:32]!a} is malformed or points to no release")
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
