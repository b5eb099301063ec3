"""A node's folder: what lies where, the lock of the one node that holds it, and the one commit point.

    NODE/                 $XDG_STATE_HOME/barnraise/<run>/<first 8 digits of the key>
      state.json          the one commit point: everything else is named by digest from here
      coordinator.url     where the run's coordinator was reached last, for whoever asks later
      key.path            where the key's file is
      swarm.json          hosts of the swarm, and where the coordinator was before (swarm/memory.py)
      team.json           where members of the team were reached last (swarm/memory.py)
      swarm.key, .log     the id of the open swarm's sidecar, and what it says; team.key, .log of the team's
      history.jsonl       what was trained, and what became of it (history.py)
      status.json         how the node was at its start, its last receipt and its end (status.py)
      consent.json        what its owner has agreed to (consent.py)
      policies.toml       how and when to work, as its owner wants it (governor/settings.py)
      policy-memory.json  what policies have learned (governor/memory.py)
      privacy.json        an account of what updates may tell (privacy/)
      machine.json        what training on this machine has shown (training/remembered.py)
      reports/            what was found where the node ended without a reason of its own (report.py)
      control/            the socket that commands go through (control/)
      blobs/ab/cd..       updates, residuals and AdamW's moments (float32 vectors)
      base/               the model that was pulled last
      trust/              the run's signed metadata, as it was seen last
      cache/              what is being fetched for the next one, and blobs that other nodes may have
      from-nodes/         blobs on their way from other nodes
      masks/              which parts of the model a lease is about, where it says so
      checkpoint          a unit that was stopped in the middle
      lock                held by the one node of this key

To make a transition of :class:`~contributor.state.NodeState` happen, store the blobs that it names,
then replace ``state.json`` in one rename. A crash before that rename leaves the old state and some
blobs that nobody names; a crash after it leaves the new state.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import FolderLockedError, MessageError, StorageError, VerificationError
from barnraise.identity import usual_key
from barnraise.message import check_run_name
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.store import BlobStore
from barnraise.run_folder import locked_file
from contributor.state import NodeState, of_today

__all__ = ["NodeFolder", "state_home"]

LOCK_ATTEMPTS, LOCK_PAUSE_S = 3, 0.02
"""Whoever asks whether a node runs holds the lock for a moment (control/asking.py)."""
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


def state_home() -> Path:
    """Folder of the user's Barnraise state, after the XDG base directory rules."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "barnraise"


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The folder of one key in one run; see the module's picture."""

    root: Path

    @classmethod
    def of(cls, home: Path, run: str, public_key: str) -> NodeFolder:
        """The folder below ``home``; the run's name is checked before it becomes a path."""
        return cls(home / check_run_name(run) / public_key[:8])

    @property
    def base(self) -> Path:
        return self.root / "base"

    @property
    def url(self) -> Path:
        return self.root / "coordinator.url"

    @property
    def key(self) -> Path:
        return self.root / "key.path"

    @property
    def swarm(self) -> Path:
        return self.root / "swarm.json"

    @property
    def trust(self) -> Path:
        return self.root / "trust"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def history(self) -> Path:
        return self.root / "history.jsonl"

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def consent(self) -> Path:
        return self.root / "consent.json"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.root)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; freed when the process ends.

        Raises:
            FolderLockedError: another node with this key does.
            StorageError: nothing can be written there.
        """
        with ExitStack() as stack:
            try:
                self._take(stack)
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
                raise StorageError(
                    f"nothing can be written to {self.root} ({error.strerror}); make that place yours, or keep this "
                    "node at another one: barnraise join --home DIR"
                ) from error
            yield

    def _take(self, stack: ExitStack) -> None:
        """Make the folder, and have its lock until ``stack`` ends."""
        make_folder(self.root)
        for attempt in range(LOCK_ATTEMPTS):
            try:
                refusal = f"another node with this key already works in {self.root}"
                stack.enter_context(locked_file(self.root / "lock", refusal))
                return
            except FolderLockedError:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise
                time.sleep(LOCK_PAUSE_S)  # the system's lock has no time-out to wait with

    def remember_key(self, file: Path) -> None:
        """Note where the key's file is.

        Raises:
            DiskFullError: no space left; the old note still holds.
        """
        replace_file(self.key, os.fsencode(file.absolute()) + b"\n")

    @property
    def join_options(self) -> str:
        """What ``barnraise join`` is told besides the URL to start this node again, and no other: for a shell."""
        try:
            key = os.fsdecode(self.key.read_bytes().removesuffix(b"\n"))
        except FileNotFoundError:
            return self.home_option
        usual = Path(key) == usual_key().absolute()
        return self.home_option if usual else f"{self.home_option} --key {shlex.quote(key)}"

    @property
    def home_option(self) -> str:
        """The part of them that names the folder of nodes, where it is not the user's."""
        home = self.root.parent.parent
        return "" if home.absolute() == state_home().absolute() else f" --home {shlex.quote(str(home))}"

    def load(self) -> NodeState:
        """The committed state; an empty one in a new folder.

        Raises:
            VerificationError: the file was altered or is of another version.
        """
        try:
            return NodeState.read(of_today(json.loads((self.root / "state.json").read_bytes())))
        except FileNotFoundError:
            return NodeState()
        except (ValueError, MessageError) as error:
            raise VerificationError(
                f"{self.root}/state.json is not a node's state; move {self.root} away to begin without it"
            ) from error

    def commit(self, state: NodeState) -> NodeState:
        """Make ``state`` true, then forget the blobs that nothing names any more.

        Raises:
            DiskFullError: no space left; the old state still holds.
        """
        replace_file(self.root / "state.json", canonical_json(state.model_dump(mode="json")))
        self._forget_all_but(state.blobs())
        return state

    def vector(self, digest: str, size: int) -> NDArray[np.float32]:
        """A stored float32 [P] vector, verified.

        Raises:
            BlobMissingError, VerificationError: it is gone, or not what was stored.
        """
        data = self.store.map(digest)
        if len(data) != 4 * size or digest_bytes(data) != digest:
            raise VerificationError(f"a residual in {self.root} was altered; move that folder away to begin without it")
        return np.frombuffer(data, dtype="<f4")

    def _forget_all_but(self, needed: Iterable[str]) -> None:
        keep = {self.store.path(digest) for digest in needed}
        for path in (self.root / "blobs").glob("*/*"):
            if path not in keep:
                path.unlink(missing_ok=True)
