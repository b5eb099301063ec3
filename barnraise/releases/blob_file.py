"""A blob's file, read where it lies: in a store, or in somebody's folder on this disk.

Once it is open, removing or replacing it changes nothing for whoever reads. What it holds is not
believed: somebody may write to it at any time, so what is compared is what came of the bytes that
were read, never the file.
"""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from barnraise.errors import VerificationError

__all__ = ["BlobFile"]


class BlobFile(AbstractContextManager["BlobFile"]):
    """An open file of a known size; several threads may read."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Open it.

        Raises:
            VerificationError: not a file, or one of another size.
            OSError: it is not there, or may not be read.
        """
        self.path, self.size_bytes = path, size_bytes
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no pipe keeps us waiting
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
            self.close()
            raise VerificationError(f"{path} has {found.st_size:,} bytes, its blob {size_bytes:,}; use another mirror")

    def read(self, memory: memoryview, at: int) -> None:
        """Fill ``memory`` with the bytes from ``at`` on.

        Raises:
            VerificationError: there are not so many, or the disk does not give them.
        """
        while memory:
            try:
                count = os.preadv(self._descriptor, [memory], at)
            except OSError as error:
                raise VerificationError(f"{self.path} cannot be read: {error.strerror}; use another mirror") from error
            if not count:
                raise VerificationError(f"{self.path} ends after {at:,} bytes, which is too early; use another mirror")
            memory, at = memory[count:], at + count

    def close(self) -> None:
        """Let go of the file; once."""
        os.close(self._descriptor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
