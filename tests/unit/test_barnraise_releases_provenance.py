"""What a folder's own files prove, offline: every link of the chain, and the limits of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.errors import NotEnoughSignaturesError, VerificationError
from barnraise.identity import Identity
from barnraise.releases.bundle import pack, unpack
from barnraise.releases.offline import Offline
from barnraise.releases.provenance import Proof, verify_provenance
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions, read_index
from maintained import hand_over, promote
from published import PublishedRun, published


@pytest.fixture
def run(tmp_path: Path) -> PublishedRun:
    """Three releases; 0.1.1 is promoted by two of three maintainers."""
    run = published(tmp_path / "run", releases=3)
    hand_over(run)
    promote(run, "0.1.1")
    return run


def files_of(run: PublishedRun, home: Path) -> dict[str, bytes]:
    return dict(read_index(FolderSource(run.public), TrustOptions(home=home)).provenance)


def verified(
    run: PublishedRun, files: dict[str, bytes], version: str = "0.1.1", root: str | bytes | None = None
) -> Proof:
    digest = run.index().entry(version).manifest.digest
    return verify_provenance(files, digest, version, TrustOptions(root, home=run.root / "nowhere"))


def test_a_whole_chain_is_told_link_by_link(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    proof = verified(run, files)
    assert (proof.run, proof.promoted, proof.root_is_pinned) == ("tiny-lm", True, False)
    told = "; ".join(proof.checked)
    for link in (
        "2 roots",
        "2 of the maintainers' keys",
        "online key",
        "index lists 0.1.1",
        "promoted releases has 0.1.1",
    ):
        assert link in told
    assert [words.split(":")[0] for words in proof.unchecked] == [
        "whether there is anything newer, or the release was yanked since",
        "whose run this is",
    ]
    nightly = verified(run, files, "0.1.2")
    assert not nightly.promoted
    assert "any maintainer stands for this release" in "; ".join(nightly.unchecked)


def test_files_travel_as_one(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    assert unpack(pack(files), "it") == files
    for bad in (b"", b"[]", b'{"a": 1}', b"[" * 100_000, b"\xff"):
        with pytest.raises(VerificationError, match="it is no bundle"):
            unpack(bad, "it")


def test_the_root_may_be_named_or_pinned(run: PublishedRun, tmp_path: Path) -> None:
    files, roots = files_of(run, tmp_path / "trust"), run.repository.offline.roots
    for root in (run.repository.root_digest, *roots):
        proof = verified(run, files, root=root)
        assert proof.root_is_pinned
        assert not any("whose run" in words for words in proof.unchecked)
    digest = run.index().entry("0.1.1").manifest.digest
    assert verify_provenance(files, digest, "0.1.1", TrustOptions(home=tmp_path / "trust")).root_is_pinned
    with pytest.raises(VerificationError, match="was named"):
        verified(run, files, root="b3:" + "0" * 64)
    other = published(tmp_path / "other", releases=3, stranger=True)
    strange = files_of(other, tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match="is pinned for tiny-lm here"):
        verify_provenance(strange, digest, "0.1.1", TrustOptions(home=tmp_path / "trust"))


def test_any_changed_byte_breaks_the_chain(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    for name, data in files.items():
        for at in range(0, len(data), max(1, len(data) // 40)):
            spoilt = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises(VerificationError):
                verified(run, {**files, name: spoilt}, root=run.repository.root_digest)


def test_any_missing_file_breaks_the_chain(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    for name in files:
        rest = {other: data for other, data in files.items() if other != name}
        with pytest.raises(VerificationError):
            verified(run, rest, root=run.repository.root_digest)


def test_without_their_list_nothing_passes_for_promoted(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    gone = {"metadata/stable.json", "targets/stable.json"}
    rest = {name: data for name, data in files.items() if name not in gone}
    with pytest.raises(VerificationError, match="no maintainer promoted"):
        verified(run, rest)
    with pytest.raises(VerificationError, match="nobody signed it"):
        verified(run, {**rest, "targets/stable.json": files["targets/stable.json"]})


def test_another_manifest_or_version_is_not_proven(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    with pytest.raises(VerificationError, match="the signed index has manifest"):
        verify_provenance(files, run.index().entry("0.1.2").manifest.digest, "0.1.1")
    with pytest.raises(VerificationError, match="no such release"):
        verify_provenance(files, run.index().entry("0.1.2").manifest.digest, "0.1.9")


def test_a_stranger_cannot_make_a_chain_from_the_same_first_root(run: PublishedRun, tmp_path: Path) -> None:
    files = files_of(run, tmp_path / "trust")
    stranger = Identity.from_seed(b"s" * 32)
    theirs = Offline.found("tiny-lm", stranger, Identity.from_seed(b"o" * 32), 0)
    for name, data in {"metadata/2.root.json": theirs.roots[0], "metadata/targets.json": theirs.targets}.items():
        with pytest.raises((NotEnoughSignaturesError, VerificationError)):
            verified(run, {**files, name: data})
