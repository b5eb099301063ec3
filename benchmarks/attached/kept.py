"""What took minutes to make, kept beside the records, so that a study that is stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kept"]


@dataclass(frozen=True)
class Kept:
    """A folder of files by name; without one everything is made each time."""

    folder: Path | None = None

    def blob(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The file of that name, made if it is not there. It gets its name when it is whole."""
        if self.folder is None:
            return make()
        path = self.folder / name.replace(" ", "-")
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(make())
            part.rename(path)
        return path.read_bytes()

    def vector(self, name: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """float32 [P], as a blob."""
        return np.frombuffer(self.blob(name, lambda: make().tobytes()), dtype=np.float32).copy()
