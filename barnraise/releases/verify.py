"""Check again what was pulled: the folder from its own signatures, a release against parent plus patch."""

from __future__ import annotations

import tempfile
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barnraise.errors import BrokenChainError, VerificationError
from barnraise.native import threads
from barnraise.releases.catalog import Catalog
from barnraise.releases.convert import convert
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.manifest import DerivedManifest
from barnraise.releases.derived.names import derived_entry
from barnraise.releases.installed import Installed, check_model, of_flat
from barnraise.releases.keyframe import keyframe_size, parse_keyframe
from barnraise.releases.layout import side_files
from barnraise.releases.model_files import Pieces
from barnraise.releases.plan import PatchStep, make_plan
from barnraise.releases.provenance import verify_provenance
from barnraise.releases.rebuild import apply_patch, rebuild
from barnraise.releases.shared_out import share_out
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.updates.space import TensorSpec

__all__ = [
    "FolderReport",
    "KeyframeReport",
    "PatchReport",
    "verify_conversion",
    "verify_derived",
    "verify_folder",
    "verify_patch",
    "verify_release",
]


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was found to be in order, and what was not looked at.

    Attributes:
        root_digest, root_is_pinned, promoted: as :class:`~barnraise.releases.provenance.Proof` has them.
        derived: whether it is a derived model, not a release of the trunk.
        manifest_digest: of ``release.json``.
        converted_to: the type that tensors were converted to when they were pulled; None: they are as released.
        checked, unchecked: one sentence each.
    """

    name: str
    version: str
    model_digest: str
    root_digest: str
    root_is_pinned: bool
    promoted: bool
    derived: bool
    manifest_digest: str
    converted_to: str | None
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]


def verify_folder(folder: Path, trust: TrustOptions | None = None) -> FolderReport:
    """Check an installed release, offline, from the folder alone.

    Args:
        trust: which root the signatures should begin with; by default the pinned one, if there is one.

    Raises:
        VerificationError: what does not match.
    """
    installed = Installed.read(folder)
    manifest, note = installed.manifest, installed.note
    derived = manifest.name if isinstance(manifest, DerivedManifest) else None
    proof = verify_provenance(installed.provenance, note.release, manifest.version, trust, derived)
    if derived is None and proof.run != manifest.name:
        raise VerificationError(f"the signatures are those of {proof.run}, release.json is one of {manifest.name}")
    return FolderReport(
        name=manifest.name,
        version=manifest.version,
        model_digest=manifest.model_digest,
        root_digest=proof.root_digest,
        root_is_pinned=proof.root_is_pinned,
        promoted=proof.promoted,
        derived=derived is not None,
        manifest_digest=note.release,
        converted_to=note.dtype,
        checked=(*proof.checked, *_checked(installed)),
        unchecked=(*proof.unchecked, *_unchecked(installed)),
    )


def _checked(installed: Installed) -> list[str]:
    manifest, side = installed.manifest, side_files(installed.manifest)
    count = len(installed.files)
    size = f"{len(installed.tensors):,} tensors ({installed.size_bytes:,} bytes in {count} file{'s'[: count > 1]})"
    lines = [f"release.json is that manifest, and {', '.join(side)} are what it names"]
    if installed.is_converted:
        lines.append(f"all {size} are as they were when pulling converted them to {installed.note.dtype}")
    else:
        lines.append(f"all {size} are what it names; the model is {manifest.model_digest}")
    return [*lines, "there is no other file in the folder"]


def _unchecked(installed: Installed) -> list[str]:
    if not installed.is_converted:
        return []
    return [
        f"that the {installed.note.dtype} tensors are those of the release: converted tensors are signed by nobody, "
        "installed.json only shows that they did not change. To convert the release again and compare: --from SOURCE"
    ]


def _require_same(source: ReleaseSource, version: str, found: str, expected: str) -> None:
    if found != expected:
        raise VerificationError(
            f"{source.label} has another {version} than the folder; use one of the same run, or pull again"
        )


def verify_conversion(source: ReleaseSource, folder: Path, trust: TrustOptions | None = None) -> int:
    """Pull the release of a converted folder again, as it was released, convert it, and compare every tensor.

    Returns:
        How many tensors were compared.

    Raises:
        VerificationError: a tensor is not what converting the release gives.
    """
    installed = Installed.open(folder)
    index = read_index(source, trust).index
    entry = index.entry(installed.manifest.version)
    _require_same(source, entry.version, entry.manifest.digest, installed.note.release)
    with tempfile.TemporaryDirectory(prefix="barnraise-verify-") as temporary:
        catalog = Catalog(source, index, BlobStore(Path(temporary), durable=False))
        flat_P = rebuild(catalog, make_plan(index, entry.version), catalog.manifest(entry))
    _compare(installed, of_flat(installed.space, flat_P))
    return len(installed.tensors)


def _compare(installed: Installed, tensor: Pieces, pool: Executor | None = None) -> None:
    """Compare every tensor of a folder with what its release has, converted as the folder's are."""
    released = {spec.name: spec.dtype for spec in installed.space.tensors}

    def compare(spec: TensorSpec) -> None:
        at, is_same = 0, True
        for piece in tensor(spec.name):
            again = convert(piece, released[spec.name], spec.dtype)
            is_same &= np.array_equal(again, installed.tensors[spec.name][at : at + len(again)])
            at += len(again)
        if not is_same:
            how = "" if released[spec.name] == spec.dtype else f" when it is converted to {spec.dtype}"
            raise VerificationError(
                f"{installed.folder}: tensor {spec.name} is not what {installed.manifest.version} gives{how}; "
                "do not use it. Pull the release again"
            )

    share_out(compare, [spec for file in installed.files for spec in file.tensors], pool)


def verify_derived(source: ReleaseSource, folder: Path, trust: TrustOptions | None = None) -> int:
    """Decode the derived model of a folder again, from blobs that are fetched anew, and compare every tensor.

    Where pulling converted it, what was decoded is converted again too.

    Returns:
        How many tensors were compared.

    Raises:
        NoSuchVersionError: the source has no such model.
        VerificationError: it has another one, or a tensor is not what decoding gives.
    """
    installed = Installed.open(folder)
    manifest = installed.manifest
    with tempfile.TemporaryDirectory(prefix="barnraise-verify-") as temporary:
        index = read_index(source, trust).index
        entry = derived_entry(index, manifest.name, manifest.version)
        _require_same(source, entry.version, entry.manifest.digest, installed.note.release)
        family = Family(Catalog(source, index, BlobStore(Path(temporary), durable=False)))
        ref = family.ref(entry.name, entry.version)
        family.build(ref)
        with ThreadPoolExecutor(threads()) as pool:
            _compare(installed, lambda name: family.pieces(ref, name), pool)
    return len(installed.tensors)


@dataclass(frozen=True, slots=True)
class KeyframeReport:
    """A release that is stored whole and nothing else, whose keyframe has the tensors that its manifest names."""

    version: str
    model_digest: str
    keyframe_bytes: int


@dataclass(frozen=True, slots=True)
class PatchReport:
    """A release that equals its parent plus its patch, bit for bit."""

    version: str
    parent: str
    model_digest: str
    patch_bytes: int
    model_bytes: int


def verify_patch(
    source: ReleaseSource, version: str, *, trust: TrustOptions | None = None, manifest_digest: str | None = None
) -> PatchReport:
    """As :func:`verify_release`, of a release that is to be a patch.

    Raises:
        BrokenChainError: the release was not published as a patch.
        VerificationError: see :func:`verify_release`.
    """
    report = verify_release(source, version, trust=trust, manifest_digest=manifest_digest)
    if isinstance(report, KeyframeReport):
        raise BrokenChainError(f"{version} was not released as a patch: it is stored whole. Choose a later release")
    return report


def verify_release(
    source: ReleaseSource, version: str, *, trust: TrustOptions | None = None, manifest_digest: str | None = None
) -> PatchReport | KeyframeReport:
    """Compute a release again from its parent and its patch, or read its keyframe where it is stored whole.

    All of it is fetched and verified anew.

    Args:
        version: an exact version.
        trust: as for pulling.
        manifest_digest: which release of that number is meant; None: the one that the source has.

    Raises:
        BrokenChainError: the parent cannot be had.
        VerificationError: it is another model, or anything on the way does not match.
    """
    index = read_index(source, trust).index
    entry = index.entry(version)
    if manifest_digest is not None:
        _require_same(source, version, entry.manifest.digest, manifest_digest)
    with tempfile.TemporaryDirectory(prefix="barnraise-verify-") as temporary:
        catalog = Catalog(source, index, BlobStore(Path(temporary), durable=False))
        manifest = catalog.manifest(entry)
        if entry.keyframe is not None:
            keyframe_P = parse_keyframe(catalog.blob(entry.keyframe), manifest.space)
            check_model(manifest, manifest.space, keyframe_P, f"the keyframe of {version}")
        if entry.patch is None or entry.parent is None:
            return KeyframeReport(version, entry.model_digest, keyframe_size(manifest.space))
        parent = index.entry(entry.parent)
        before = catalog.manifest(parent)
        flat_P = rebuild(catalog, make_plan(index, parent.version), before)
        apply_patch(catalog, PatchStep(version, parent.model_digest, entry.patch), before.space, flat_P)
        check_model(manifest, manifest.space, flat_P, f"{parent.version} plus its patch")
    return PatchReport(
        version=version,
        parent=parent.version,
        model_digest=entry.model_digest,
        patch_bytes=entry.patch.size_bytes,
        model_bytes=keyframe_size(manifest.space),
    )
