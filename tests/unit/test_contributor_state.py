"""The node's memory: one commit point; residual and moments move only with a receipt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from barnraise.digest import digest_bytes
from barnraise.errors import BlobMissingError, VerificationError
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.protocol import RunInfo
from contributor.folder import NodeFolder
from contributor.state import KeptMoments, NodeState, Outgoing
from pretend_gateway import PretendGateway

SPACE, OTHER = digest_bytes(b"space"), digest_bytes(b"other space")
OLD, NEW, UPDATE, FORMER = (digest_bytes(text) for text in (b"old", b"new", b"update", b"former"))

FIRST, SECOND, LATER_FIRST, LATER_SECOND = (digest_bytes(text) for text in (b"m", b"v", b"later m", b"later v"))


def moments(steps: int, first: str, second: str) -> KeptMoments:
    return KeptMoments(steps=steps, first=first, second=second, beta1=0.9, beta2=0.99, clip_grad_norm=1.0)


KEPT, LATER = moments(4, FIRST, SECOND), moments(8, LATER_FIRST, LATER_SECOND)


def outgoing(folded: tuple[str, ...] = (), took: tuple[str, ...] = (OLD,)) -> Outgoing:
    info: RunInfo = PretendGateway().info()
    envelope = Signed.make(info, Identity.from_seed(bytes(32)))
    return Outgoing(
        digest=UPDATE, envelope=envelope, residual=NEW, moments=LATER, dense_bytes=4, took=took, folded=folded
    )


def test_residual_and_moments_move_only_with_a_receipt() -> None:
    before = NodeState(space=SPACE, residuals=(OLD,), moments=KEPT)
    finished = before.finished(outgoing())
    assert (finished.residuals, finished.moments) == ((OLD,), KEPT)
    assert finished.refused(UPDATE) == before
    received = finished.received(UPDATE, 3)
    assert (received.residuals, received.moments) == ((NEW,), LATER)
    assert [update.digest for update in received.sent] == [UPDATE]


def test_what_was_folded_in_is_forgotten_with_the_receipt_and_kept_without() -> None:
    before = NodeState(space=SPACE).model_copy(update={"to_fold": (FORMER,)})
    finished = before.finished(outgoing(folded=(FORMER,), took=()))
    assert finished.refused(UPDATE).to_fold == (FORMER,)
    assert finished.received(UPDATE, 1).to_fold == ()


def test_a_fate_is_settled_once() -> None:
    sent = NodeState(space=SPACE).finished(outgoing(took=())).received(UPDATE, 1)
    assert sent.settled(UPDATE, fold_back=True).to_fold == (UPDATE,)
    assert sent.settled(UPDATE, fold_back=False).to_fold == ()
    assert sent.settled(UPDATE, fold_back=True).sent == ()


def test_another_shape_of_trunk_begins_without_left_overs() -> None:
    state = NodeState(space=SPACE, residuals=(OLD,), moments=KEPT, to_fold=(FORMER,))
    assert state.in_space(SPACE) == state
    assert state.in_space(OTHER).blobs() == set()


def test_every_blob_that_a_state_names_is_kept() -> None:
    state = NodeState(space=SPACE, residuals=(OLD,), moments=KEPT, to_fold=(FORMER,)).finished(outgoing())
    assert state.blobs() == {OLD, FORMER, UPDATE, NEW, FIRST, SECOND, LATER_FIRST, LATER_SECOND}
    assert state.received(UPDATE, 1).blobs() == {NEW, UPDATE, FORMER, LATER_FIRST, LATER_SECOND}
    assert state.without_moments().refused(UPDATE).blobs() == {OLD, FORMER}


def test_the_coordinators_key_is_trusted_on_first_use_only() -> None:
    known = NodeState().with_coordinator("a" * 64)
    assert known.with_coordinator("a" * 64) == known
    with pytest.raises(VerificationError, match=r"signs with key b{16}\.\., so far it was a{16}"):
        known.with_coordinator("b" * 64)


def test_a_state_survives_and_unnamed_blobs_do_not(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path)
    vector_P = np.arange(5, dtype=np.float32)
    kept, lost = folder.store.put(vector_P.tobytes()), folder.store.put(b"nobody names this")
    state = folder.commit(NodeState(space=SPACE, residuals=(kept,), moments=KEPT).finished(outgoing(took=(kept,))))
    assert folder.load() == state
    assert np.array_equal(folder.vector(kept, 5), vector_P)
    with pytest.raises(BlobMissingError):
        folder.store.read(lost)


def test_a_state_from_before_moments_were_kept_is_read(tmp_path: Path) -> None:
    state = NodeState(space=SPACE, residuals=(OLD,)).model_dump(mode="json")
    del state["moments"]
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert NodeFolder(tmp_path).load() == NodeState(space=SPACE, residuals=(OLD,))
