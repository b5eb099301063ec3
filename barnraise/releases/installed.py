"""A release in a folder, as pulling leaves it; :mod:`barnraise.releases.layout` draws the folder.

Opening compares everything but the tensors' values; checking hashes these too. Replacing a
release exchanges the whole folder in one step of the file system, so that a reader, or a power
cut, meets the old release or the new one and never a mixture.

P  elements in the whole space
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes, digest_each, digest_file
from barnraise.errors import UsageError, VerificationError
from barnraise.releases.convert import Stored, widen
from barnraise.releases.derived.manifest import AnyManifest, read_any_manifest
from barnraise.releases.durable import (
    disk_full_translated,
    exchange_folders,
    fsync_file,
    fsync_folder,
    make_folder,
)
from barnraise.releases.layout import (
    NOTE_FILE,
    PROVENANCE,
    RELEASE_FILE,
    SHARD_BYTES,
    ModelFile,
    cut_model,
    index_file,
    is_ours,
    plan_model,
    side_files,
    stored_specs,
)
from barnraise.releases.manifest import SIDE_MAX_BYTES, Manifest
from barnraise.releases.model_files import Bytes, Pieces, map_files, tensors_in, write_model
from barnraise.releases.note import InstalledNote, read_note
from barnraise.releases.source import MANIFEST_MAX_BYTES
from barnraise.releases.stream import capped
from barnraise.updates.space import ParameterSpace

__all__ = [
    "AS_RELEASED",
    "Content",
    "Form",
    "Installed",
    "check_model",
    "check_target",
    "install",
    "of_flat",
    "sweep_staging",
]


@dataclass(frozen=True, slots=True)
class Form:
    """How a release is laid out.

    Attributes:
        dtype: what floating point tensors are converted to; None keeps them as released.
        shard_bytes: how much of tensors one file holds.
    """

    dtype: Stored | None = None
    shard_bytes: int = SHARD_BYTES

    def dtype_for(self, space: ParameterSpace) -> Stored | None:
        """``dtype``, or None where it would change nothing."""
        return self.dtype if stored_specs(space.tensors, self.dtype) != space.tensors else None

    def files(self, space: ParameterSpace) -> tuple[ModelFile, ...]:
        """The files that a model of this layout becomes."""
        return plan_model(stored_specs(space.tensors, self.dtype), self.shard_bytes)


AS_RELEASED = Form()


@dataclass(frozen=True)
class Installed:
    """A release in a folder, of which everything but the tensors' values was compared with its manifest.

    Attributes:
        release: the bytes of ``release.json``. note: how it was laid out.
        files: of the tensors, with the types that are stored. data: what lies behind each one's header, mapped.
    """

    folder: Path
    manifest: AnyManifest
    release: bytes
    note: InstalledNote
    files: tuple[ModelFile, ...]
    data: tuple[Bytes, ...]

    @classmethod
    def read(cls, folder: Path) -> Installed:
        """Open and check; nothing outside the folder is needed. Whose release it is, is not asked here.

        Raises:
            VerificationError: something is missing, altered, or there that should not be.
        """
        installed = cls.open(folder)
        installed.check()
        return installed

    @classmethod
    def open(cls, folder: Path, *, writable: bool = False) -> Installed:
        """Open without hashing the tensors.

        Args:
            writable: whether ``data`` may be written to; that never changes the files.

        Raises:
            VerificationError: something is missing, altered, or there that should not be.
        """
        release = _read(folder, RELEASE_FILE)
        manifest = read_any_manifest(release, f"{folder / RELEASE_FILE}")
        note = read_note(_read(folder, NOTE_FILE), f"{folder / NOTE_FILE}")
        try:
            files = cut_model(stored_specs(manifest.space.tensors, note.dtype), note.shards)
        except ValueError as error:
            raise _altered(folder / NOTE_FILE) from error
        digests = _digests(manifest, note, files)
        _compare_names(folder, {*digests, NOTE_FILE, *(file.name for file in files)})
        for name, digest in digests.items():
            if digest_file(folder / name) != digest:
                raise _altered(folder / name)
        return cls(folder, manifest, release, note, files, map_files(folder, files, writable=writable))

    def check(self) -> None:
        """Hash every tensor.

        Raises:
            VerificationError: naming the first that is not what it should be.
        """
        found = digest_each([data.data for data in self.tensors.values()])
        digests = self.manifest.tensor_digests
        for spec, released, digest in zip(self.space.tensors, digests, found, strict=True):
            expected = self.note.converted.get(spec.name, released)
            if digest != expected:
                raise _wrong_tensor(f"{self.folder}", spec.name, digest, f"{self.manifest.version} has", expected)

    @property
    def is_converted(self) -> bool:
        """Whether the tensors are not those that were released; patches do not apply to them."""
        return bool(self.note.converted)

    def has_form(self, form: Form) -> bool:
        """Whether the tensors are of the types that ``form`` asks for; where files are cut does not matter."""
        return self.note.dtype == form.dtype_for(self.space)

    @property
    def space(self) -> ParameterSpace:
        return self.manifest.space

    @property
    def size_bytes(self) -> int:
        """Of the files of tensors."""
        return sum(file.size_bytes for file in self.files)

    @cached_property
    def tensors(self) -> Mapping[str, Bytes]:
        """Little-endian bytes of every tensor by name, sorted; views into ``data``."""
        return tensors_in(self.files, self.data)

    def flat(self) -> NDArray[np.float32]:
        """float32 [P], the whole model: a view where one file holds it as it is, else a new array."""
        if self.note.dtype is None and len(self.files) == 1:
            return widen(self.data[0], "F32")
        return np.concatenate([widen(data, self.note.dtype or "F32") for data in self.tensors.values()])

    @cached_property
    def provenance(self) -> dict[str, bytes]:
        """The signed metadata that leads to the manifest, by path."""
        return {path: _read(self.folder, f"{PROVENANCE}/{path}") for path in self.note.provenance}

    def side(self, name: str) -> bytes | None:
        """A file that the manifest names beside the tensors; None if it names none such.

        Raises:
            VerificationError: it was altered in the meantime.
        """
        blob = side_files(self.manifest).get(name)
        if blob is None:
            return None
        data = _read(self.folder, name, SIDE_MAX_BYTES)
        if digest_bytes(data) != blob.digest:
            raise _altered(self.folder / name)
        return data


def _digests(manifest: AnyManifest, note: InstalledNote, files: Sequence[ModelFile]) -> dict[str, str]:
    """Path -> digest of every file but those of tensors and the note."""
    digests = {name: blob.digest for name, blob in side_files(manifest).items()}
    digests |= {name: digest_bytes(data) for name, data in index_file(files).items()}
    digests |= {f"{PROVENANCE}/{path}": digest for path, digest in note.provenance.items()}
    return {RELEASE_FILE: note.release, **digests}


def _compare_names(folder: Path, files: Collection[str]) -> None:
    """Refuse a folder without one of these files, or with anything else; links are not followed."""
    expected = {*files, *(str(parent) for name in files for parent in PurePosixPath(name).parents)} - {"."}
    found = {
        str((Path(at) / name).relative_to(folder))
        for at, folders, names in os.walk(folder)
        for name in (*folders, *names)
    }
    if expected - found:
        raise _incomplete(folder, min(expected - found))
    if found - expected:
        raise VerificationError(f"{folder} holds {min(found - expected)!a}, which no release brings; remove it")
    for name in files:
        if not (folder / name).is_file():
            raise _incomplete(folder, name)


def check_model(manifest: Manifest, space: ParameterSpace, flat_P: NDArray[np.float32], what: str) -> None:
    """Compare the digest of every tensor with the manifest's.

    Args:
        what: how to name the model in an error.

    Raises:
        VerificationError: naming the first tensor that differs.
    """
    for entry, digest in zip(manifest.tensors, space.tensor_digests(flat_P), strict=True):
        if digest != entry.digest:
            raise _wrong_tensor(what, entry.name, digest, f"release {manifest.version} says", entry.digest)


def _wrong_tensor(what: str, name: str, found: str, says: str, expected: str) -> VerificationError:
    return VerificationError(
        f"{what}: tensor {name} is {found[:15]}.., {says} {expected[:15]}..; do not use it. "
        "Pull the release again, or try another mirror"
    )


def _read(folder: Path, name: str, most: int = MANIFEST_MAX_BYTES) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            return capped(file.read(most + 1), most, f"{folder / name}")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _incomplete(folder, name) from error


def _incomplete(folder: Path, name: str) -> VerificationError:
    return VerificationError(
        f"{folder} holds no whole release: no {name}. Get one: barnraise pull NAME --into {folder}"
    )


def _altered(path: Path) -> VerificationError:
    return VerificationError(f"{path} was altered: it is not what the release says; pull the release again")


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that is not a release's, or holds files that no release has.

    Raises:
        UsageError: a file, or a folder of other things.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, a release needs a folder; choose another place with --into")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if not is_ours(name)]
    if not foreign and names and not {RELEASE_FILE, NOTE_FILE, PROVENANCE} & set(names):
        foreign = names
    if foreign:
        raise UsageError(
            f"{folder} holds {foreign[0]!a}, which was not pulled and would be deleted; "
            "choose an empty or new folder with --into"
        )


@dataclass(frozen=True)
class Content:
    """A verified release on its way into a folder.

    Attributes:
        release: the manifest as it came.
        tensor: each tensor, verified.
        side: what :func:`~barnraise.releases.layout.side_files` names, by file name.
        provenance: the signed metadata that leads to the manifest, by path.
    """

    manifest: AnyManifest
    release: bytes
    tensor: Pieces
    side: Mapping[str, bytes | memoryview]
    provenance: Mapping[str, bytes]


def of_flat(space: ParameterSpace, flat_P: NDArray[np.float32]) -> Pieces:
    """The tensors of a flat vector, float32 [P], as :class:`Content` wants them."""
    views = space.unflatten(np.ascontiguousarray(flat_P, dtype="<f4"))
    return lambda name: (views[name].reshape(-1).view(np.uint8),)


def install(
    folder: Path, content: Content, form: Form = AS_RELEASED, pool: Executor | None = None, *, durable: bool = True
) -> None:
    """Put a verified release into ``folder``, in place of the one that may be there.

    Args:
        pool: whose threads write tensors; see :func:`~barnraise.releases.shared_out.share_out`.
        durable: whether it survives a power cut. Without that a torn release may lie there afterwards, which reading
            finds out: for a folder that is read again before each use, and can be filled again.

    Raises:
        UsageError: a value is too large for the type that it is to be converted to, or other things lie there.
        DiskFullError: no space left. In every case the old release is untouched.
    """
    staging = folder.parent / f".{folder.name}.new-{secrets.token_hex(4)}"
    make_folder(folder.parent)
    try:
        with disk_full_translated(folder):
            staging.mkdir()
            _fill(staging, content, form, pool)
            if durable:
                _settle(staging)
            check_target(folder)  # again: fetching takes long, and whatever came to lie there would be deleted
            exchange_folders(staging, folder)
            if durable:
                fsync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(staging: Path, content: Content, form: Form, pool: Executor | None) -> None:
    space = content.manifest.space
    files = form.files(space)
    released = {spec.name: spec.dtype for spec in space.tensors}
    converted = write_model(staging, files, content.tensor, released, pool)
    note = InstalledNote(
        dtype=form.dtype_for(space),
        shards=tuple(len(file.tensors) for file in files),
        converted=converted,
        release=digest_bytes(content.release),
        provenance={path: digest_bytes(data) for path, data in content.provenance.items()},
    )
    small = {**content.side, **index_file(files), RELEASE_FILE: content.release, NOTE_FILE: note.canonical()}
    small |= {f"{PROVENANCE}/{path}": data for path, data in content.provenance.items()}
    for name, data in small.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(data)


def _settle(staging: Path) -> None:
    """Wait until the disk has all of it: only now, for one that waits takes the others' pages along."""
    for at, _, names in os.walk(staging):
        for name in names:
            fsync_file(Path(at) / name)
        fsync_folder(Path(at))


def sweep_staging(folder: Path) -> None:
    """Remove what pulls into ``folder`` left behind when they were killed."""
    for path in folder.parent.glob(f".{folder.name}.new-*"):
        shutil.rmtree(path, ignore_errors=True)
