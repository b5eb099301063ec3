"""Maintainers at the command line: with real files, handed from one to the next, on a run without a coordinator."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Timestamp

from barnraise.cli import run
from barnraise.cli.key_files import ENVIRONMENT
from barnraise.identity import Identity
from barnraise.releases.ceremony import Renew
from barnraise.releases.charter import Charter
from barnraise.releases.offline import Offline
from barnraise.releases.proposal import propose
from barnraise.releases.roles import serialise, sign
from barnraise.run_folder import RunFolder
from ceremonies import KEYS, coordinated, key_file, promoting, signed_by
from commands import told
from coordinator.orders import Yank, place
from published import PublishedRun

MAINTAINERS = ("ada", "barbara", "grace")


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BARNRAISE_FROM", raising=False)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for name in (*MAINTAINERS, "katherine"):
        key_file(Path(), name)


@pytest.fixture
def releases(tmp_path: Path) -> PublishedRun:
    return coordinated(tmp_path / "run")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first test that asks for ``held`` has made, and the others copy."""
    return tmp_path_factory.mktemp("kept") / "held"


@pytest.fixture
def held(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PublishedRun:
    """The same, handed over to ada, barbara and grace, two of whom have to sign."""
    if kept.exists():
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
        return PublishedRun(tmp_path / "run")
    releases = coordinated(tmp_path / "run")
    init = ["keys", "init", "--threshold", "2", "--run", str(releases.root), "--out", "init.proposal"]
    does(capsys, *init, *(word for name in MAINTAINERS for word in ("--maintainer", f"{name}.key.pub")))
    signed(capsys, "init.proposal", "barbara", "ada")
    does(capsys, "keys", "apply", "init.proposal", "--run", str(releases.root))
    shutil.copytree(tmp_path, kept)
    return releases


def does(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    code, envelope = told(capsys, *argv)
    assert code == 0, envelope
    result: dict[str, Any] = envelope["result"]
    return result


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[str, str]:
    _, envelope = told(capsys, *argv)
    return envelope["error"]["code"], envelope["error"]["reason"]


def signed(capsys: pytest.CaptureFixture[str], file: str, *names: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in names:
        result = does(capsys, "keys", "sign", file, "--key", f"{name}.key")
    return result


def pulled(capsys: pytest.CaptureFixture[str], source: PublishedRun, wanted: str) -> str:
    """Which version a consumer gets who reads the published folder as a mirror."""
    spec = f"tiny-lm@{wanted}"
    return str(does(capsys, "pull", spec, "--into", "model", "--from", str(source.public))["version"])


# -- the whole life ------------------------------------------------------------------------


def test_from_nightly_to_stable_and_through_a_stolen_online_key(
    releases: PublishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run_, mirror = ("--run", str(releases.root)), ("--from", str(releases.public))
    folder = RunFolder(releases.root)
    assert pulled(capsys, releases, "^0.1") == "0.1.2"
    assert refused(capsys, "promote", "0.1.1", *run_)[0] == "order-refused"
    # Three maintainers take over. None of their keys is on the coordinator's machine.
    options = [word for name in MAINTAINERS for word in ("--maintainer", f"{name}.key.pub")]
    begun = does(capsys, "keys", "init", *options, "--threshold", "2", *run_)
    assert begun["file"] == "tiny-lm-root-2.proposal"
    assert [(need["part"], need["missing"]) for need in begun["needs"]] == [("root", 0), ("root, targets, stable", 2)]
    assert folder.root_key.exists()
    assert signed(capsys, begun["file"], "ada", "grace")["complete"] is True
    applied = does(capsys, "keys", "apply", begun["file"], *run_)
    assert "published" in applied["applied"]
    assert not folder.root_key.exists()
    assert pulled(capsys, releases, "nightly") == "0.1.2"
    pull = ["pull", "tiny-lm@^0.1", "--into", "model", *mirror]
    assert "0.1.2 was not promoted; ask for =0.1.2" in refused(capsys, *pull)[1]
    # Two of them promote 0.1.1, from two machines that only read.
    proposal = does(capsys, "promote", "0.1.1", *mirror, "--key", "ada.key")["file"]
    assert proposal == "tiny-lm-promote-0.1.1.proposal"
    assert refused(capsys, "keys", "apply", proposal, *run_)[0] == "not-enough-signatures"
    assert does(capsys, "promote", proposal, "--key", "barbara.key", *mirror)["complete"] is True
    assert does(capsys, "promote", proposal, *run_)["applied"].startswith("0.1.1 is promoted; channel stable is at it")
    assert pulled(capsys, releases, "stable") == "0.1.1"
    assert pulled(capsys, releases, "^0.1") == "0.1.1"
    assert pulled(capsys, releases, "nightly") == "0.1.2"
    # The online key was stolen: root replaces it, and consumers go on without noticing.
    (before,) = folder.keys.glob("online*.key")
    rotated = does(capsys, "keys", "rotate", "online", *run_)["file"]
    signed(capsys, rotated, "barbara", "grace")
    does(capsys, "keys", "apply", rotated, *run_)
    (after,) = folder.keys.glob("online*.key")
    assert before != after
    assert pulled(capsys, releases, "stable") == "0.1.1"
    shown = does(capsys, "keys", "show", *mirror)
    assert shown["promoted"] == ["0.1.1"]
    assert shown["root"]["version"] == 3
    assert [key["name"] for key in shown["maintainers"]] == list(MAINTAINERS)
    assert does(capsys, "keys", "show", *run_) == shown
    newest = ("--trust", shown["root_digest"])
    assert does(capsys, "pull", "tiny-lm@stable", "--into", "other", *newest, *mirror)["version"] == "0.1.1"


def test_applying_twice_does_no_harm(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run_ = ("--run", str(held.root))
    applied = does(capsys, "promote", "0.1.2", *run_, "--key", "ada.key", "--key", "grace.key")
    assert applied["file"] is None
    before = RunFolder(held.root).offline.read_bytes()
    assert refused(capsys, "promote", "0.1.2", *run_, "--key", "ada.key")[1].startswith("0.1.2 was promoted before")
    does(
        capsys,
        "promote",
        "0.1.1",
        "--out",
        "again",
        "--key",
        "ada.key",
        "--key",
        "grace.key",
        "--from",
        str(held.public),
    )
    assert "stays at 0.1.2" in does(capsys, "keys", "apply", "again", *run_)["applied"]
    assert "was promoted before" in does(capsys, "keys", "apply", "again", *run_)["applied"]
    assert RunFolder(held.root).offline.read_bytes() != before
    assert pulled(capsys, held, "stable") == "0.1.2"


def test_a_promotion_is_withdrawn(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run_, both = ("--run", str(held.root)), ("--key", "ada.key", "--key", "grace.key")
    does(capsys, "promote", "0.1.1", *run_, *both)
    assert "the only promoted release" in refused(capsys, "promote", "0.1.1", "--withdraw", *run_, *both)[1]
    does(capsys, "promote", "0.1.2", *run_, *both)
    assert "rollback stable 0.1.1" in refused(capsys, "promote", "0.1.2", "--withdraw", *run_, *both)[1]
    does(capsys, "promote", "0.1.1", "--withdraw", *run_, *both)
    assert (
        refused(capsys, "pull", "tiny-lm@<0.1.2", "--into", "model", "--from", str(held.public))[0] == "no-such-version"
    )
    assert does(capsys, "keys", "show", *run_)["promoted"] == ["0.1.2"]
    assert "was never promoted" in refused(capsys, "promote", "0.1.1", "--withdraw", *run_)[1]


def test_maintainers_come_and_go(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run_, both = ("--run", str(held.root)), ("--key", "ada.key", "--key", "grace.key")
    does(capsys, "promote", "0.1.1", *run_, *both)
    does(capsys, "keys", "revoke", "barbara", *run_, *both)
    assert "there are 1 maintainers left" in refused(capsys, "keys", "revoke", "grace", *run_)[1]
    does(capsys, "keys", "add", "katherine.key.pub", "--threshold", "3", *run_, *both, "--key", "katherine.key")
    does(capsys, "keys", "new", "grace-2.key", "--name", "grace")
    does(capsys, "keys", "rotate", "maintainer", "grace", "grace-2.key.pub", *run_, *both, "--out", "rotated")
    signed(capsys, "rotated", "katherine", "grace-2")
    does(capsys, "keys", "apply", "rotated", *run_)
    all_ = ("--key", "ada.key", "--key", "katherine.key", "--key", "grace-2.key")
    does(capsys, "keys", "renew", "--threshold", "1", *run_, *all_)
    does(capsys, "promote", "0.1.2", *run_, "--key", "katherine.key")
    shown = does(capsys, "keys", "show", "--from", str(held.public))
    assert (shown["threshold"], shown["promoted"]) == (1, ["0.1.1", "0.1.2"])
    assert [key["name"] for key in shown["maintainers"]] == ["ada", "grace", "katherine"]
    assert pulled(capsys, held, "stable") == "0.1.2"


def test_the_bootstrap_key_serves_until_there_are_maintainers(
    releases: PublishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ = ("--run", str(releases.root))
    assert pulled(capsys, releases, "nightly") == "0.1.2"
    assert does(capsys, "keys", "rotate", "online", *run_)["file"] is None
    assert does(capsys, "keys", "renew", *run_)["file"] is None
    shown = does(capsys, "keys", "show", *run_)
    assert (shown["has_maintainers"], shown["root"]["version"]) == (False, 3)
    assert pulled(capsys, releases, "nightly") == "0.1.2"


def test_a_new_online_key_recovers_from_a_fast_forward(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Who stole the online key shows a consumer versions so high that nothing true looks new any more."""
    folder, run_ = RunFolder(held.root), ("--run", str(held.root))
    does(capsys, "promote", "0.1.1", *run_, "--key", "ada.key", "--key", "grace.key")
    stolen = Identity.load_or_create(folder.online_key)
    honest = (held.public / "metadata" / "timestamp.json").read_bytes()
    (held.public / "metadata" / "timestamp.json").write_bytes(fast_forwarded(honest, stolen))
    assert pulled(capsys, held, "stable") == "0.1.1"
    (held.public / "metadata" / "timestamp.json").write_bytes(honest)
    assert (
        refused(capsys, "pull", "tiny-lm@stable", "--into", "model", "--from", str(held.public))[0] == "older-metadata"
    )
    does(capsys, "keys", "rotate", "online", *run_, "--key", "ada.key", "--key", "barbara.key")
    assert pulled(capsys, held, "stable") == "0.1.1"
    assert not folder.online_key.exists()


def fast_forwarded(honest: bytes, stolen: Identity) -> bytes:
    """The timestamp with a version of the far future."""
    metadata = Metadata[Timestamp].from_bytes(honest)
    metadata.signed.version = 2**31
    metadata.signatures.clear()
    sign(metadata, stolen)
    return serialise(metadata)


def test_an_interrupted_ceremony_goes_on_where_it_ended(
    held: PublishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ = ("--run", str(held.root))
    proposal = does(capsys, "promote", "0.1.1", "--from", str(held.public), "--key", "ada.key", "--key", "grace.key")[
        "file"
    ]

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("coordinator.ceremonies.place", stopped)
        assert run(["keys", "apply", proposal, *run_, "--json"]) == 130
    capsys.readouterr()
    assert [each.version for each in Offline.read(RunFolder(held.root).offline).promoted.promoted] == ["0.1.1"]
    assert does(capsys, "keys", "apply", proposal, *run_)["applied"].startswith("0.1.1 is promoted")
    assert pulled(capsys, held, "stable") == "0.1.1"


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "code", "reason"),
    [
        (
            ["keys", "init", "--maintainer", "ada.key.pub", "--threshold", "1", "--run", "RUN"],
            "order-refused",
            "already",
        ),
        (["keys", "add", "ada.key.pub", "--run", "RUN"], "order-refused", "have the same key"),
        (["keys", "add", "katherine.key.pub", "--threshold", "5", "--run", "RUN"], "order-refused", "is 5; name more"),
        (["keys", "add", "katherine.key", "--run", "RUN"], "config-value", "is a private key"),
        (["keys", "add", "nobody.pub", "--run", "RUN"], "config-missing", "there is no key nobody.pub"),
        (["keys", "revoke", "mallory", "--run", "RUN"], "order-refused", "no maintainer of this run"),
        (["keys", "revoke", "ada", "--threshold", "3", "--run", "RUN"], "order-refused", "2 maintainers left and 3"),
        (["keys", "rotate", "online", "--from", "MIRROR"], "usage", "on the coordinator's machine"),
        (["keys", "rotate", "online", "ada", "--run", "RUN"], "usage", "one online key"),
        (["keys", "rotate", "maintainer", "ada", "--run", "RUN"], "usage", "and which instead"),
        (["keys", "show", "--run", "RUN", "--from", "MIRROR"], "usage", "give one of them"),
        (["keys", "show", "--run", "."], "not-a-run-folder", "holds no run"),
        (["keys", "sign", "nothing.proposal"], "config-missing", "there is no proposal"),
        (["keys", "sign", "ada.key.pub"], "unknown-field", "proposal"),
        (["keys", "frobnicate"], "usage", "keys --help"),
        (["promote", "9.9.9", "--run", "RUN"], "no-such-version", "9.9.9"),
        (["promote", "0.1.2", "--run", "RUN", "--key", "katherine.key"], "order-refused", "ada, barbara, grace"),
        (["promote", "0.1.2", "--run", "RUN", "--key", "ada.key", "--key", "ada.key"], "order-refused", "signed this"),
        (["promote", "init.proposal", "--withdraw"], "usage", "needs a version"),
        (["promote", "init.proposal", "--key", "grace.key", "--run", "RUN"], "order-refused", "Propose it anew"),
        (["promote", "0.1.2", "--out", "init.proposal/x", "--from", "MIRROR"], "storage", "Not a directory"),
    ],
)
def test_what_is_refused(
    held: PublishedRun, capsys: pytest.CaptureFixture[str], argv: list[str], code: str, reason: str
) -> None:
    places = {"RUN": str(held.root), "MIRROR": str(held.public)}
    before = RunFolder(held.root).offline.read_bytes()
    found = refused(capsys, *(places.get(word, word) for word in argv))
    assert found[0] == code
    assert reason in found[1]
    assert RunFolder(held.root).offline.read_bytes() == before


def test_what_is_not_a_release_of_the_run_is_not_promoted(
    held: PublishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though enough have signed it: a mirror showed them another index."""
    folder = RunFolder(held.root)
    before = folder.offline.read_bytes()
    charter = Charter.of(Offline.read(folder.offline))
    for version, code in (("0.1.1", "verification"), ("0.7.0", "no-such-version")):
        signing = propose("tiny-lm", charter, promoting(version), datetime.now(UTC))
        Path("forged").write_bytes(signed_by(signing, ["ada", "grace"]).to_bytes())
        assert refused(capsys, "keys", "apply", "forged", "--run", str(held.root))[0] == code
    does(
        capsys,
        "promote",
        "0.1.1",
        "--from",
        str(held.public),
        "--key",
        "ada.key",
        "--key",
        "grace.key",
        "--out",
        "late",
    )
    place(folder, Yank("0.1.1", "leaked a test"))
    code, reason = refused(capsys, "keys", "apply", "late", "--run", str(held.root))
    assert (code, reason) == ("order-refused", "0.1.1 was yanked meanwhile: leaked a test. Nothing was changed")
    assert folder.offline.read_bytes() == before
    assert pulled(capsys, held, "nightly") == "0.1.2"


def test_what_ends_soon_is_said(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(held.root)
    assert does(capsys, "keys", "show", "--run", str(held.root))["warnings"] == []
    offline = Offline.read(folder.offline)
    long_ago = datetime.now(UTC) - timedelta(days=310)
    signing = signed_by(propose("tiny-lm", Charter.of(offline), Renew(), long_ago), ["ada", "grace"])
    signing.applied_to(offline).write(folder.offline)
    warnings = does(capsys, "keys", "show", "--run", str(held.root))["warnings"]
    assert [warning.split()[0] for warning in warnings] == ["root", "targets", "stable"]
    assert "barnraise keys renew" in warnings[0]


def test_a_proposal_for_another_run_is_refused(
    held: PublishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = coordinated(tmp_path / "other")
    does(capsys, "promote", "0.1.2", "--run", str(held.root), "--key", "ada.key", "--out", "first.proposal")
    code, reason = refused(capsys, "keys", "sign", "first.proposal", "--key", "grace.key", "--run", str(other.root))
    assert (code, "tiny-lm is at root 1" in reason) == ("order-refused", True)
    assert signed(capsys, "first.proposal", "grace")["complete"]
    assert refused(capsys, "keys", "apply", "first.proposal", "--run", str(other.root))[0] == "order-refused"


def test_an_unfinished_proposal_is_not_overwritten(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    does(capsys, "promote", "0.1.2", "--run", str(held.root), "--key", "ada.key")
    code, reason = refused(capsys, "promote", "0.1.2", "--run", str(held.root), "--key", "grace.key")
    assert (code, "go on with it" in reason) == ("usage", True)


# -- words ---------------------------------------------------------------------------------


def test_what_a_maintainer_is_told(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["promote", "0.1.2", "--from", str(held.public), "--key", "ada.key"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(len(line) for line in out.splitlines()) <= 80
    for words in (
        "- promotes 0.1.2 - model b3:",
        "stable: 2 of the maintainers; signed by ada; missing 1 of barbara, grace",
        "missing 1 of the maintainers (barbara, grace). Hand it on",
        "barnraise keys sign tiny-lm-promote-0.1.2.proposal --key THEIR.key",
    ):
        assert words in " ".join(out.split())
    assert run(["keys", "sign", "tiny-lm-promote-0.1.2.proposal"]) == 0
    read = capsys.readouterr()
    assert (read.out, read.err) == (out, "")
    assert run(["keys", "sign", "tiny-lm-promote-0.1.2.proposal", "--key", "barbara.key"]) == 0
    out, err = capsys.readouterr()
    assert "barnraise keys apply tiny-lm-promote-0.1.2.proposal --run RUN" in out
    assert "nobody compared this with tiny-lm as it is now; to do so: --from URL" in err
    assert run(["keys", "show", "--from", str(held.public)]) == 0
    out, _ = capsys.readouterr()
    assert f"barbara  {KEYS['barbara'].public}" in out
    assert "root             2  " in out
    assert max(len(line) for line in out.splitlines()) <= 80


# -- key files -----------------------------------------------------------------------------


def test_a_new_key_is_the_owners_alone(capsys: pytest.CaptureFixture[str]) -> None:
    made = does(capsys, "keys", "new", "mary.key", "--name", "mary")
    assert Path("mary.key").stat().st_mode & 0o777 == 0o600
    assert json.loads(Path("mary.key.pub").read_text()) == {"name": "mary", "public": made["public"]}
    code, reason = refused(capsys, "keys", "new", "mary.key", "--name", "mary")
    assert (code, "exists" in reason) == ("config-value", True)
    Path("mary.key.pub").unlink()
    assert does(capsys, "keys", "new", "mary.key", "--name", "mary") == {**made, "made": False}
    assert sorted(path.name for path in Path().iterdir() if "mary" in path.name) == ["mary.key", "mary.key.pub"]


def test_a_passphrase_is_asked_for(
    held: PublishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(capsys, "keys", "new", "mary.key", "--name", "mary", "--passphrase")[0] == "usage"
    monkeypatch.setenv(ENVIRONMENT, "a long one")
    does(capsys, "keys", "new", "mary.key", "--name", "mary", "--passphrase")
    assert b"ENCRYPTED" in Path("mary.key").read_bytes()
    add = ["keys", "add", "mary.key.pub", "--run", str(held.root), "--key", "ada.key", "--key", "grace.key"]
    does(capsys, *add, "--key", "mary.key")
    promote = ["promote", "0.1.2", "--run", str(held.root), "--key", "mary.key"]
    monkeypatch.setenv(ENVIRONMENT, "a wrong one")
    assert "the passphrase is wrong" in refused(capsys, *promote)[1]
    monkeypatch.delenv(ENVIRONMENT)
    assert f"set {ENVIRONMENT}" in refused(capsys, *promote)[1]


def test_a_key_that_others_can_read_is_not_used(held: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ada.key").chmod(0o644)
    code, reason = refused(capsys, "promote", "0.1.2", "--run", str(held.root), "--key", "ada.key")
    assert (code, "chmod 600" in reason) == ("config-value", True)
