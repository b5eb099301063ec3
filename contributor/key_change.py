"""Put another key in a key's place, in every run that it works for, and take its folders along.

rotate    1. the new key is made in FILE.next, and stays the same however often this is begun again
          2. every folder of the old key is locked, every coordinator asked: a no here changes nothing
          3. every coordinator is told; being told twice is as good as once
          4. folders are renamed and note where their key's file is, then the new key takes the file's name; the old
             one stays beside it

A crash anywhere leaves something that the next ``rotate`` completes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from barnraise.errors import (
    DiskFullError,
    FolderLockedError,
    RetiredKeyError,
    SuccessionError,
    UnreachableError,
    UsageError,
)
from barnraise.identity import Identity
from barnraise.key_messages import KeyAccepted, KeyHistory, Objection, RecoveryRequest, Rotation
from barnraise.message import Message, Signed
from barnraise.narrate import short
from barnraise.recovery import RecoveryCode
from contributor.client import GatewayClient
from contributor.first_use import first_use, load_card, store_card
from contributor.folder import NodeFolder

__all__ = ["Brought", "KeyChanges", "Place", "Rotated", "bring", "move_folders", "places_of", "retired_path", "swap"]


@dataclass(frozen=True, slots=True)
class Place:
    """A run that a key works for, from this machine."""

    run: str
    url: str
    folder: NodeFolder


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of a rotation.

    Attributes:
        histories: what each coordinator that knows the key now says. left: runs that were left out.
        kept: where the old key is now.
    """

    old: str
    new: str
    histories: Sequence[KeyHistory]
    left: Sequence[str]
    kept: Path


@dataclass(frozen=True, slots=True)
class Brought:
    """A key came in another's place.

    Attributes:
        kept: where the old key is now; None where there was none, or the same one.
        left: folders that could not be moved along.
    """

    kept: Path | None = None
    left: Sequence[Path] = ()


def places_of(home: Path, key: str) -> list[Place]:
    """The runs that ``key`` has worked for from this machine, by name."""
    found = []
    for root in sorted(home.glob(f"*/{key[:8]}")):
        folder = NodeFolder(root)
        if folder.url.is_file():
            found.append(Place(root.parent.name, folder.url.read_text(encoding="utf-8").strip(), folder))
    return found


def retired_path(key_file: Path, public: str) -> Path:
    """Where a key goes that another one has replaced."""
    return key_file.with_name(f"{key_file.name}.{public[:8]}.retired")


def move_folders(home: Path, old: str, new: str, without: Collection[str] = ()) -> list[Path]:
    """Rename the folders of one key to another's; residual, outbox and checkpoint go along.

    Returns:
        those that could not be moved, because the new key has one there already.
    """
    left = []
    for place in places_of(home, old):
        target = place.folder.root.with_name(new[:8])
        if place.run in without:
            continue
        if target.exists():
            left.append(place.folder.root)
        else:
            place.folder.root.rename(target)
    return left


def _note_files(home: Path, files: Mapping[str, Path]) -> None:
    """Have the folders of public keys note the files that these keys are in: a hint, which nothing fails for."""
    for key, file in files.items():
        for place in places_of(home, key):
            with suppress(DiskFullError, OSError):
                place.folder.remember_key(file)


def bring(home: Path, key_file: Path, new: Identity) -> Brought:
    """Put a key that was brought from elsewhere into a key file, in the place of the one that is there.

    Raises:
        FolderLockedError: a node works with the old key; nothing was changed.
    """
    old = Identity.load(key_file).public if key_file.exists() else None
    if old == new.public:
        return Brought()
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    following = key_file.with_name(f"{key_file.name}.import")
    following.unlink(missing_ok=True)
    if old is None:
        new.store(following)
        following.replace(key_file)
        return Brought()
    with ExitStack() as held:
        for place in places_of(home, old):
            held.enter_context(_locked(place))
        left = move_folders(home, old, new.public)
        new.store(following)
        kept = swap(key_file, following, old)
        _note_files(home, {new.public: key_file, old: kept})
        return Brought(kept, left)


@dataclass(frozen=True)
class KeyChanges:
    """Asks coordinators for changes of keys.

    Attributes:
        home: the folder of nodes. connect: a client for a URL.
    """

    home: Path
    now_ms: Callable[[], int]
    connect: Callable[[str], GatewayClient] = field(default=GatewayClient.connect)

    def rotate(self, key_file: Path, without: Collection[str] = (), code: RecoveryCode | None = None) -> Rotated:
        """Replace the key in a file by a new one, everywhere.

        Args:
            without: runs to leave out; the old key stays usable there, with ``--key``.
            code: of the old key's recovery card, so that runs which the new key joins later know it too.

        Raises:
            FolderLockedError: a node works with the old key. NetworkError: a coordinator cannot be reached, or refuses.
            SuccessionError, RetiredKeyError: a run knows why it cannot be. Nothing was changed by any of these.
        """
        old = Identity.load(key_file)
        card = load_card(key_file, old.public)
        if code is not None and (card is None or card.key != code.identity.public):
            raise UsageError("this is not the recovery code of the key that is here; leave it away, or look again")
        following = key_file.with_name(f"{key_file.name}.next")
        new = Identity.load_or_create(following)
        places = [place for place in places_of(self.home, old.public) if place.run not in without]
        with ExitStack() as held:
            for place in places:
                held.enter_context(_locked(place))
            known = [(place, history) for place in places if (history := self._asked(place, old.public)) is not None]
            for _, history in known:
                _require_rotatable(history, old.public, new.public)
            histories = [self._told(place, old, new) for place, _ in known]
            move_folders(self.home, old.public, new.public, without)
            if code is not None:
                store_card(key_file, code.card_for(new.public))
            kept = swap(key_file, following, old.public)
            _note_files(self.home, {new.public: key_file, old.public: kept})
        return Rotated(old.public, new.public, histories, sorted(without), kept)

    def recover(self, url: str, key_file: Path, code: RecoveryCode) -> KeyHistory:
        """Ask a run for the place of a lost key, for the key in a file, which is made when there is none.

        Once that has taken effect, asking again moves the lost key's folders on this machine along.

        Raises:
            NetworkError: no answer, or a refusal, such as for a code that the run does not know.
        """
        new = first_use(key_file).identity
        store_card(key_file, code.card_for(new.public))
        client = self.connect(url)
        run = client.run_info().name
        request = RecoveryRequest(run=run, new=new.public, nonce=secrets.token_hex(16), at_ms=self.now_ms())
        history = client.change_key("recoveries", _accepted(request, code.identity, new))
        if history.keys[-1].key == new.public:
            for step in history.keys[:-1]:
                move_folders(self.home, step.key, new.public, {one.run for one in self._others(step.key, run)})
            _note_files(self.home, {new.public: key_file})
        return history

    def object(self, identity: Identity, urls: Sequence[str] = ()) -> list[KeyHistory]:
        """Object to every open recovery of a key, where it works from this machine and at ``urls``.

        Raises:
            SuccessionError: no recovery is open anywhere. NetworkError: a coordinator cannot be reached, or refuses.
        """
        told = []
        for url in dict.fromkeys([*urls, *(place.url for place in places_of(self.home, identity.public))]):
            client = self.connect(url)
            history = client.key_history(identity.public)
            if history is None or history.pending is None:
                continue
            objection = Objection(
                run=history.run, claim=history.pending.claim, nonce=secrets.token_hex(16), at_ms=self.now_ms()
            )
            told.append(client.change_key("objections", Signed.make(objection, identity)))
        if not told:
            raise SuccessionError(f"nobody claims the place of key {short(identity.public)}; there is nothing to do")
        return told

    def _others(self, key: str, run: str) -> Iterator[Place]:
        return (place for place in places_of(self.home, key) if place.run != run)

    def _asked(self, place: Place, key: str) -> KeyHistory | None:
        try:
            return self.connect(place.url).key_history(key)
        except UnreachableError as error:
            raise UnreachableError(
                f"{place.url}, which coordinates {place.run}, does not answer ({error}); nothing was changed. "
                f"Try later, or leave that run with its old key: --without {place.run}"
            ) from error

    def _told(self, place: Place, old: Identity, new: Identity) -> KeyHistory:
        rotation = Rotation(
            run=place.run, old=old.public, new=new.public, nonce=secrets.token_hex(16), at_ms=self.now_ms()
        )
        return self.connect(place.url).change_key("rotations", _accepted(rotation, old, new))


def _accepted(message: Message, by: Identity, new: Identity) -> Signed:
    """A statement by one key, accepted by the other."""
    return Signed.make(KeyAccepted(statement=Signed.make(message, by)), new)


def _require_rotatable(history: KeyHistory, old: str, new: str) -> None:
    """Find out before anything is changed what a coordinator would refuse."""
    in_use = history.keys[-1].key
    if in_use not in {old, new}:
        raise RetiredKeyError(
            f"in {history.run}, key {short(in_use)} has taken the place of {short(old)} before; use that one: "
            "barnraise identity import FILE --in-place-of-old"
        )
    if history.pending is not None and in_use == old:
        raise SuccessionError(
            f"in {history.run}, a recovery to key {short(history.pending.new)} is open. If that was not you, first: "
            "barnraise identity object"
        )


def _locked(place: Place) -> ExitStack:
    """Hold the folder of a key that is about to be replaced."""
    stack = ExitStack()
    try:
        stack.enter_context(place.folder.lock())
    except FolderLockedError as error:
        raise FolderLockedError(
            f"a node works for {place.run} with this key; let it finish first (Ctrl-C there, or barnraise finish), "
            "then do this again"
        ) from error
    return stack


def swap(key_file: Path, following: Path, old: str) -> Path:
    """The new key takes the file's name; at no moment is there none."""
    kept = retired_path(key_file, old)
    kept.unlink(missing_ok=True)
    os.link(key_file, kept)
    following.replace(key_file)
    return kept
