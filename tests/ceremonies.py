"""Maintainers, and a run that they hold or will hold: for tests of ceremonies and of commands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from barnraise.identity import Identity
from barnraise.message import BlobRef
from barnraise.releases.ceremony import Appoint, Promote, Request
from barnraise.releases.charter import Charter
from barnraise.releases.index import Promotion
from barnraise.releases.maintainer import KeyPair, PublicKey
from barnraise.releases.offline import Offline
from barnraise.releases.proposal import Signing, propose
from barnraise.run_folder import RunFolder
from coordinator.ledger.events import ChannelMoved, Event, ReleaseTagged, RunCreated
from fresh_ledger import fresh_ledger
from published import PublishedRun, published

RUN = "tiny-lm"
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
NAMES = ("ada", "barbara", "grace", "katherine")
PAIRS = {name: KeyPair.from_seed(name.encode("ascii").ljust(32, b".")) for name in NAMES}
KEYS = {name: pair.named(name) for name, pair in PAIRS.items()}
BOOTSTRAP, ONLINE = Identity.from_seed(b"r" * 32), Identity.from_seed(b"o" * 32)
NEW_ONLINE = Identity.from_seed(b"n" * 32)


def found(run: str = RUN) -> Offline:
    """The files of a new run."""
    return Offline.found(run, BOOTSTRAP, ONLINE, int(NOW.timestamp() * 1000))


def appointing(*names: str, threshold: int) -> Appoint:
    return Appoint(maintainers=tuple(KEYS[name] for name in names), threshold=threshold)


def promoting(version: str, letter: str = "a") -> Promote:
    manifest = BlobRef(digest="b3:" + letter * 64, size_bytes=100)
    return Promote(release=Promotion(version=version, model_digest="b3:" + letter * 64, manifest=manifest))


def signed_by(signing: Signing, signers: Sequence[str | KeyPair]) -> Signing:
    """Handed from one to the next, as a file."""
    for signer in signers:
        pair = PAIRS[signer] if isinstance(signer, str) else signer
        signing = Signing.parse(signing.to_bytes(), "the file").sign(pair)
    return signing


def after(offline: Offline, request: Request, signers: Sequence[str | KeyPair], at: datetime = NOW) -> Offline:
    """The files once a request was signed and applied."""
    signing = propose(RUN, Charter.of(offline), request, at)
    return signed_by(signing, signers).applied_to(offline)


def bootstrap() -> KeyPair:
    return KeyPair(BOOTSTRAP.private_key)


@cache
def held_by(*names: str, threshold: int) -> Offline:
    """The files of a run that these maintainers have taken over."""
    return after(found(), appointing(*names, threshold=threshold), [bootstrap(), *names])


def public(*names: str) -> tuple[PublicKey, ...]:
    return tuple(KEYS[name] for name in names)


def coordinated(root: Path, releases: int = 3) -> PublishedRun:
    """A run folder with a ledger that knows its releases, while no coordinator is running."""
    run = published(root, releases)
    folder = RunFolder(run.as_run_folder())
    folder.create()
    events: list[Event] = [RunCreated(run.name, "b3:" + "0" * 64, {}, "0" * 64)]
    for entry in run.entries:
        events.append(
            ReleaseTagged(
                version=entry.version,
                parent=entry.parent,
                model_digest=entry.model_digest,
                manifest_digest=entry.manifest.digest,
                round=0,
                bump="patch",
                reason="for a test",
                keyframe=entry.keyframe.model_dump() if entry.keyframe else None,
                patch=entry.patch.model_dump() if entry.patch else None,
                state_digest=None,
                created_at_ms=0,
            )
        )
    events.append(ChannelMoved("nightly", None, run.entries[-1].version))
    ledger = fresh_ledger(folder.ledger)
    ledger.record(*events, at_ms=1)
    ledger.close()
    return run


def key_file(folder: Path, name: str) -> Path:
    """A maintainer's pair as files; the path of the private one."""
    path = folder / f"{name}.key"
    path.touch(0o600)
    path.write_bytes(PAIRS[name].to_pem())
    path.with_name(f"{name}.key.pub").write_bytes(KEYS[name].canonical())
    return path
