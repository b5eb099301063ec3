"""Where everything of a run lies on the coordinator's disk.

    RUN/
      run.toml          the configuration the run was started with
      model.json        what its model was begun from, where that was a folder
      acceptance/       the suite that it names, as it was then
      address.json      {"url": ..., "pid": ...} of the gateway that is listening now
      ledger.sqlite     the truth: events and what follows from them
      public/           any static file server of this folder is a mirror
        metadata/       signed release metadata (TUF): root, timestamp, snapshot, targets, nightly, stable
        targets/        the lists it leads to: all releases and channels, promoted releases
        blobs/ab/cd..   keyframes, patches, manifests, reports, merged updates
      trust/            what maintainers have signed, to be published: offline.json; lock, held while that is replaced
      private/blobs/    updates not merged, optimiser state, acceptance data
      staging/          uploads that are not complete
      keys/             private keys (0600): coordinator.key signs leases and receipts, online*.key
                        release metadata, root.key stands in for maintainers until there are some
      status/           how it goes, for whoever watches: conductor.json, backup.json, swarm.json; for Prometheus
                        gateway-targets.json, ray-targets.json
      logs/
      import.lock       held while a model is imported, and while garbage is collected
      lock              held by the one coordinator of this folder

Only ``public`` is for other eyes than its owner's.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import FolderLockedError, NotARunFolderError
from barnraise.starting_folder import TAKEN_OVER

__all__ = ["RunFolder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run; see the module's picture."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "run.toml"

    @property
    def model(self) -> Path:
        return self.root / TAKEN_OVER

    @property
    def suites(self) -> Path:
        return self.root / "acceptance"

    @property
    def address(self) -> Path:
        return self.root / "address.json"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def public(self) -> Path:
        return self.root / "public"

    @property
    def offline(self) -> Path:
        return self.root / "trust" / "offline.json"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def key(self) -> Path:
        return self.keys / "coordinator.key"

    @property
    def root_key(self) -> Path:
        return self.keys / "root.key"

    @property
    def online_key(self) -> Path:
        return self.keys / "online.key"

    @property
    def status(self) -> Path:
        return self.root / "status"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def listening(self) -> str | None:
        """URL at which the gateway listens now; None while none does."""
        with suppress(FileNotFoundError, ValueError, KeyError):
            return str(json.loads(self.address.read_bytes())["url"])
        return None

    def create(self) -> None:
        """Make the folders that are missing. All but ``public`` and the logs are for their owner only."""
        own = (self.private, self.staging, self.keys, self.offline.parent)
        for folder in (*own, self.public, self.suites, self.status, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in own:
            folder.chmod(0o700)

    def require(self) -> RunFolder:
        """Itself.

        Raises:
            NotARunFolderError: there is no run in it.
        """
        if not self.config.is_file():
            raise NotARunFolderError(
                f"{self.root} holds no run (no run.toml). Start one: barnraise serve CONFIG --run DIR"
            )
        return self

    @contextmanager
    def lock(self, role: str) -> Iterator[None]:
        """Hold the folder for one process of a ``role`` (``coordinator``); freed when the process ends.

        Raises:
            FolderLockedError: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with locked_file(self.root / "lock", f"another {role} already works in {self.root}"):
            yield


@contextmanager
def locked_file(path: Path, refusal: str) -> Iterator[None]:
    """Hold an advisory lock on ``path``; ``refusal`` begins the error when somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise FolderLockedError(f"{refusal} (process {holder}). Stop it first, or use another folder.") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)
