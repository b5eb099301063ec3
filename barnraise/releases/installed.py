"""A release in a folder, as pulling leaves it: weights, configuration, and the manifest.

    DIR/
      model.safetensors   all tensors, readable by the safetensors library
      config.json         the model's hyperparameters
      release.json        the manifest, which both are checked against

Replacing a release exchanges the whole folder in one step of the file system, so that a
reader, or a power cut, meets the old release or the new one and never a mixture.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import UsageError, VerificationError
from barnraise.releases.durable import (
    disk_full_translated,
    exchange_folders,
    fsync_folder,
    make_folder,
    write_all,
    write_temporary,
)
from barnraise.releases.keyframe import keyframe_header, parse_keyframe
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import MANIFEST_MAX_BYTES, capped
from barnraise.updates.space import ParameterSpace

__all__ = ["CONFIG_FILE", "MODEL_FILE", "RELEASE_FILE", "Installed", "check_model", "check_target", "install"]

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
RELEASE_FILE = "release.json"
FILES = {MODEL_FILE, CONFIG_FILE, RELEASE_FILE}


@dataclass(frozen=True)
class Installed:
    """A release whose every byte was compared with its manifest.

    Attributes:
        flat_P: float32 [P], read-only, mapped from the file.
        release: the bytes of ``release.json``.
    """

    folder: Path
    manifest: Manifest
    space: ParameterSpace
    flat_P: NDArray[np.float32]
    release: bytes

    @classmethod
    def read(cls, folder: Path) -> Installed:
        """Read and verify; nothing outside the folder is needed. Whose release it is, is not asked here.

        Raises:
            VerificationError: something is missing or altered; the message says what.
        """
        release = _read_file(folder, RELEASE_FILE)
        manifest = read_manifest(release, f"{folder / RELEASE_FILE}")
        if _read_file(folder, CONFIG_FILE) != config_bytes(manifest):
            raise VerificationError(f"{folder / CONFIG_FILE} is not what the release says; pull the release again")
        space = manifest.space
        flat_P = parse_keyframe(_map_file(folder, MODEL_FILE), space)
        check_model(manifest, space, flat_P, f"{folder / MODEL_FILE}")
        return cls(folder, manifest, space, flat_P, release)


def config_bytes(manifest: Manifest) -> bytes:
    """The one content that ``config.json`` has for a release."""
    return json.dumps(manifest.model.model_dump(mode="json"), indent=2, sort_keys=True).encode("ascii") + b"\n"


def check_model(manifest: Manifest, space: ParameterSpace, flat_P: NDArray[np.float32], what: str) -> None:
    """Compare the digest of every tensor with the manifest's.

    Args:
        what: how to name the model in an error.

    Raises:
        VerificationError: naming the first tensor that differs.
    """
    found = space.tensor_digests(flat_P)
    for entry, digest in zip(manifest.tensors, found, strict=True):
        if digest != entry.digest:
            raise VerificationError(
                f"{what}: tensor {entry.name} is {digest[:15]}.., release {manifest.version} says "
                f"{entry.digest[:15]}..; do not use it. Pull the release again, or try another mirror"
            )


def _read_file(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            return capped(file.read(MANIFEST_MAX_BYTES + 1), MANIFEST_MAX_BYTES, f"{folder / name}")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _incomplete(folder, name) from error


def _map_file(folder: Path, name: str) -> memoryview:
    try:
        with (folder / name).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise _incomplete(folder, name) from error


def _incomplete(folder: Path, name: str) -> VerificationError:
    return VerificationError(
        f"{folder} holds no whole release: no {name}. Get one: barnraise pull NAME --into {folder}"
    )


def check_target(folder: Path) -> None:
    """Refuse to replace a folder with files that no release has.

    Raises:
        UsageError: a file, or a folder of other things.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, a release needs a folder; choose another place with --into")
    foreign = sorted({path.name for path in folder.iterdir()} - FILES) if folder.is_dir() else []
    if foreign:
        raise UsageError(
            f"{folder} holds {foreign[0]!a}, which no release has and pulling would delete; "
            "choose an empty or new folder with --into"
        )


def install(folder: Path, manifest: Manifest, release: bytes, flat_P: NDArray[np.float32]) -> None:
    """Put a verified release into ``folder``, in place of the one that may be there.

    Args:
        release: the manifest as it came.
        flat_P: float32 [P].

    Raises:
        DiskFullError: no space left; the old release is untouched.
    """
    header = keyframe_header(manifest.space)
    model: list[bytes | memoryview] = [header, np.ascontiguousarray(flat_P, dtype="<f4").data]
    staging = folder.parent / f".{folder.name}.new-{secrets.token_hex(4)}"
    make_folder(folder.parent)
    try:
        with disk_full_translated(folder):
            staging.mkdir()
            _write(staging / MODEL_FILE, model)
            _write(staging / CONFIG_FILE, [config_bytes(manifest)])
            _write(staging / RELEASE_FILE, [release])
            fsync_folder(staging)
            exchange_folders(staging, folder)
            fsync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def sweep_staging(folder: Path) -> None:
    """Remove what pulls into ``folder`` left behind when they were killed."""
    for path in folder.parent.glob(f".{folder.name}.new-*"):
        shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, parts: list[bytes | memoryview]) -> None:
    def write(descriptor: int) -> None:
        for part in parts:
            write_all(descriptor, part)

    write_temporary(path.parent, write).replace(path)
