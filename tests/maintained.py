"""A run whose maintainers sign, without the ceremony's commands: for tests of trust.

run = published(tmp_path, releases=3)
hand_over(run)                    two of three maintainers from now on, the bootstrap key is gone
promote(run, "0.1.1")             the stable list names it, and channel stable points there
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from tuf.api.metadata import Metadata, Root, Targets

from barnraise.clock import now_ms
from barnraise.identity import Identity
from barnraise.releases.index import Promotion, StableList
from barnraise.releases.offline import Offline
from barnraise.releases.roles import (
    STABLE,
    STABLE_TARGET,
    Keys,
    delegated_list,
    make_root,
    make_targets,
    serialise,
    sign,
)
from barnraise.run_folder import RunFolder
from published import PublishedRun

__all__ = ["ADA", "BOB", "CAROL", "hand_over", "new_root", "promote", "rotate_online", "stable_list"]

S = TypeVar("S", Root, Targets)

ADA, BOB, CAROL = (Identity.from_seed(letter * 32) for letter in (b"A", b"B", b"C"))


def hand_over(run: PublishedRun, threshold: int = 2) -> None:
    """From the bootstrap key to three maintainers; published at once."""
    folder = RunFolder(run.root)
    bootstrap = Identity.load_or_create(folder.root_key)
    offline = run.repository.offline
    maintainers = tuple(sorted(who.public for who in (ADA, BOB, CAROL)))
    keys = Keys(maintainers, threshold, offline.keys.online, stable_threshold=threshold)
    new_root(run, offline, keys, (ADA, BOB), old=(bootstrap,))
    folder.root_key.unlink()


def new_root(
    run: PublishedRun, offline: Offline, keys: Keys, signers: tuple[Identity, ...], old: tuple[Identity, ...] = ()
) -> None:
    """One more root, and targets that go with it; published at once. ``old`` sign the root only."""
    root = make_root(run.name, keys, offline.root.version + 1, now_ms())
    targets = make_targets(keys, offline.signed_targets.signed.version + 1, now_ms())
    offline.with_root(signed(root, *signers, *old), signed(targets, *signers)).write(RunFolder(run.root).offline)
    run.repository.renew(now_ms())


def rotate_online(run: PublishedRun) -> Identity:
    """A new online key, named by a new root; the old one is gone. Returns the old one."""
    folder = RunFolder(run.root)
    old = Identity.load_or_create(next(folder.keys.glob("online*.key")))
    fresh = Identity.load_or_create(folder.keys / "online-2.key")
    offline = run.repository.offline
    new_root(run, offline, replace(offline.keys, online=fresh.public), (ADA, BOB))
    folder.online_key.unlink()
    return old


def promote(run: PublishedRun, *versions: str, signers: tuple[Identity, ...] = (ADA, CAROL)) -> None:
    """The stable list names exactly these releases, the channel points at the last; published at once."""
    offline = run.repository.offline
    version = Metadata[Targets].from_bytes(offline.stable).signed.version + 1 if offline.stable else 1
    content = stable_list(run, *versions).canonical()
    stable = signed(delegated_list(STABLE, STABLE_TARGET, content, version, now_ms()), *signers)
    replace(offline, stable=stable, stable_list=content).write(RunFolder(run.root).offline)
    run.channels["stable"] = versions[-1]
    run.write_index()


def stable_list(run: PublishedRun, *versions: str) -> StableList:
    """Releases of the run as promoted ones."""
    entries = [run.index().entry(version) for version in versions]
    promoted = tuple(Promotion(version=e.version, model_digest=e.model_digest, manifest=e.manifest) for e in entries)
    return StableList(name=run.name, promoted=promoted)


def signed(metadata: Metadata[S], *signers: Identity) -> bytes:
    """Metadata with the signatures of these keys, as bytes."""
    for signer in signers:
        sign(metadata, signer)
    return serialise(metadata)
