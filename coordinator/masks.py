"""A run's mask: taken from beside its configuration, published, and read for tasks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from barnraise.config import RunConfig
from barnraise.errors import ConfigValueError, UpdateError
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates import Mask
from barnraise.updates.space import ParameterSpace
from merge.architectures import module_space

__all__ = ["keep_mask", "mask_of"]


def keep_mask(folder: RunFolder, source: Path, config: RunConfig) -> None:
    """Have the mask that a configuration names in the run's public store.

    Args:
        source: the configuration; the file lies beside it.

    Raises:
        ConfigValueError: the file is missing, another one, or no mask for this model.
    """
    wanted, store = config.update.mask, BlobStore(folder.public)
    if wanted is None or store.has(wanted.digest):
        return
    path = source.parent / wanted.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigValueError(f"{path}, the mask that update.mask names, cannot be read ({error.strerror})") from error
    try:
        mask = Mask.parse(data, module_space(config.model))
    except UpdateError as error:
        raise ConfigValueError(f"{path} is no mask for this model: {error}") from error
    if (mask.digest, len(data)) != (wanted.digest, wanted.size_bytes):
        raise ConfigValueError(
            f"{path} is {mask.digest} of {len(data)} bytes, update.mask says {wanted.digest} of {wanted.size_bytes}; "
            "name the file that is meant"
        )
    store.put(data)


def mask_of(blobs: BlobStore, digest: str, space: ParameterSpace) -> Mask:
    """A mask that is in a store; checked once in each process.

    Raises:
        BlobMissingError: it is not there.
        UpdateError: it is no mask for this layout.
    """
    return _checked(blobs.root, digest, space)


@lru_cache(maxsize=2)
def _checked(root: Path, digest: str, space: ParameterSpace) -> Mask:
    return Mask.parse(BlobStore(root).map(digest), space)
