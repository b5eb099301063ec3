"""Make what maintainers signed take effect in a run's folder.

1. ``trust/offline.json`` is replaced in one step, after everything in it was checked.
2. An order tells the ledger, and has the coordinator publish it; without one running it is published here.
3. Keys that sign nothing any more are deleted.

Interrupted at any point, the same proposal can be applied again and goes on where that ended. A
withdrawal goes the other way round, the ledger first: no channel may point at what is not promoted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from barnraise.clock import now_ms
from barnraise.errors import ConfigMissingError, OrderRefusedError
from barnraise.identity import Identity
from barnraise.releases.ceremony import Promote, Withdraw
from barnraise.releases.charter import Charter
from barnraise.releases.index import check_promises
from barnraise.releases.locks import waiting_lock
from barnraise.releases.offline import Offline
from barnraise.releases.proposal import Signing, check_base
from barnraise.releases.repository import online_keys
from barnraise.releases.roles import run_name
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.listing import index_of
from coordinator.orders import Order, Promoted, PublishSigned, Settled, Withdrawn, place

__all__ = ["apply", "new_online_key"]


def new_online_key(folder: RunFolder) -> Identity:
    """A key that is to be the run's online key, beside the one that still is."""
    return Identity.load_or_create(folder.keys / f"online-{secrets.token_hex(4)}.key")


def apply(folder: RunFolder, signing: Signing, *, tell: Callable[[str], None] = lambda _: None) -> Settled:
    """Apply a proposal that enough have signed; once more does no harm.

    Args:
        tell: gets a sentence when this begins to wait for a coordinator.

    Raises:
        NotEnoughSignaturesError: too few have signed.
        OrderRefusedError: it is not for this run as it is now, or the ledger has a reason against it.
        NoSuchVersionError, VerificationError: it promotes what is not a release of this run.
        ConfigMissingError: the new online key is not in this folder.
        NotARunFolderError, StorageError: the folder holds no run, or cannot be written.
    """
    with waiting_lock(folder.require().offline.with_name("lock")):
        offline = Offline.read(folder.offline)
        if Charter.of(offline).digest != signing.after.digest:
            now = datetime.fromtimestamp(now_ms() // 1000, UTC)
            check_base(signing, run_name(offline.root), Charter.of(offline), now)
            made = signing.applied_to(offline)
            _require_online_key(folder, made)
            if isinstance(signing.proposal.request, Withdraw):
                place(folder, Withdrawn(signing.proposal.request.version), tell=tell)
            _require_publishable(folder, signing, made)
            made.write(folder.offline)
        settled = place(folder, _order(signing), tell=tell)
        _forget_keys(folder, signing.after)
    return settled


def _order(signing: Signing) -> Order:
    request = signing.proposal.request
    if isinstance(request, Promote):
        return Promoted(request.release.version)
    return PublishSigned(signing.after.versions)


def _require_publishable(folder: RunFolder, signing: Signing, offline: Offline) -> None:
    """Whether the releases of this run are what was signed; else nothing could be published any more."""
    ledger = Ledger.open_reading(folder.ledger)
    try:
        index = index_of(ledger, BlobStore(folder.public))
    finally:
        ledger.close()
    request = signing.proposal.request
    if isinstance(request, Promote):
        why = index.entry(request.release.version).yanked
        if why is not None:
            raise OrderRefusedError(f"{request.release.version} was yanked meanwhile: {why}. Nothing was changed")
    check_promises(index, offline.promoted)


def _require_online_key(folder: RunFolder, offline: Offline) -> None:
    if not any(identity.public == offline.keys.online for _, identity in online_keys(folder)):
        raise ConfigMissingError(
            f"{folder.keys} holds no online key {offline.keys.online[:10]}, which this proposal names; it was made by "
            "barnraise keys rotate online, on another machine or in another folder"
        )


def _forget_keys(folder: RunFolder, charter: Charter) -> None:
    """Delete keys that nothing asks for any more; proposals that would are void, for their base has changed."""
    for path, identity in online_keys(folder):
        if identity.public != charter.online:
            path.unlink()
    if charter.has_maintainers:
        folder.root_key.unlink(missing_ok=True)
