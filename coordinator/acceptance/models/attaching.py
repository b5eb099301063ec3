"""Make an attachment: fine-tune a release, and keep what that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from barnraise.digest import digest_bytes
from coordinator.acceptance.models.attachments import write_attachment
from coordinator.acceptance.models.subject import ByteSubject
from coordinator.acceptance.models.tuning import Tuning

__all__ = ["make_attachment"]


def make_attachment(base: ByteSubject, texts: Sequence[bytes], tuning: Tuning, release: str = "") -> bytes:
    """The file of an attachment: the fine-tune of ``base`` minus ``base``, every tensor whole.

    Its header states what it was made of: the digest of the model and its release, the digest of the texts, and the
    settings of the training.

    Args:
        texts: what to fine-tune on. release: a name and version, for people.

    Raises:
        AcceptanceError: too little text.
    """
    tuned = base.tuned(texts, tuning)
    made = {
        "model": base.digest,
        "release": release,
        "texts": digest_bytes(b"\n".join(texts)),
        "training": asdict(tuning),
    }
    return write_attachment(base.made_into(tuned), made)
