"""Check again what was pulled: the folder against its manifest, a release against parent plus patch."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import BrokenChainError
from barnraise.releases.catalog import Catalog
from barnraise.releases.installed import Installed, check_model
from barnraise.releases.keyframe import keyframe_size, parse_keyframe
from barnraise.releases.plan import PatchStep, make_plan
from barnraise.releases.rebuild import apply_patch, rebuild
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index

__all__ = ["FolderReport", "PatchReport", "verify_folder", "verify_patch"]


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was found to be in order.

    Attributes:
        checked: one sentence each.
    """

    name: str
    version: str
    model_digest: str
    checked: tuple[str, ...]


def verify_folder(folder: Path) -> FolderReport:
    """Check an installed release, offline.

    Raises:
        VerificationError: what does not match.
    """
    installed = Installed.read(folder)
    manifest = installed.manifest
    return FolderReport(
        name=manifest.name,
        version=manifest.version,
        model_digest=manifest.model_digest,
        checked=(
            f"all {len(manifest.tensors)} tensors ({4 * installed.space.size:,} bytes) have the digests it lists",
            f"the model is {manifest.model_digest}",
            "config.json is what it says",
        ),
    )


@dataclass(frozen=True, slots=True)
class PatchReport:
    """A release that equals its parent plus its patch, bit for bit."""

    version: str
    parent: str
    model_digest: str
    patch_bytes: int
    model_bytes: int


def verify_patch(
    source: ReleaseSource,
    version: str,
    *,
    cache: Path | None = None,
    trust: TrustOptions | None = None,
) -> PatchReport:
    """Recompute a release from its parent and its patch, both fetched and verified anew.

    Args:
        version: an exact version.
        cache: folder with blobs of earlier pulls, which need not be fetched again.
        trust: as for pulling.

    Raises:
        BrokenChainError: the release was not published as a patch.
        VerificationError: the two differ, or anything on the way does not match.
    """
    index = read_index(source, trust).index
    entry = index.entry(version)
    if entry.patch is None or entry.parent is None:
        raise BrokenChainError(f"{version} was not released as a patch: it is stored whole. Choose a later release")
    parent = index.entry(entry.parent)
    with tempfile.TemporaryDirectory(prefix="barnraise-verify-") as temporary:
        catalog = Catalog(source, index, BlobStore(cache or Path(temporary)))
        manifest = catalog.manifest(entry)
        before = catalog.manifest(parent)
        flat_P = rebuild(catalog, make_plan(index, parent.version), before)
        apply_patch(catalog, PatchStep(version, parent.model_digest, entry.patch), before.space, flat_P)
        check_model(manifest, manifest.space, flat_P, f"{parent.version} plus its patch")
        if entry.keyframe is not None:
            keyframe_P = parse_keyframe(catalog.blob(entry.keyframe), manifest.space)
            check_model(manifest, manifest.space, keyframe_P, f"the keyframe of {version}")
    return PatchReport(
        version=version,
        parent=parent.version,
        model_digest=entry.model_digest,
        patch_bytes=entry.patch.size_bytes,
        model_bytes=keyframe_size(manifest.space),
    )
