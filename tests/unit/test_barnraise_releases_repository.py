"""Publishing: what is signed when, and that a reader at any moment finds one whole state."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.clock import now_ms
from barnraise.errors import ConfigValueError, NotEnoughSignaturesError, VerificationError
from barnraise.identity import Identity
from barnraise.releases import repository as repository_module
from barnraise.releases.locks import waiting_lock
from barnraise.releases.offline import Offline
from barnraise.releases.publication import Publication, plan_publication
from barnraise.releases.repository import KEEP, Repository, online_keys
from barnraise.releases.roles import LIFETIMES, Keys, as_time, keys_of, make_root, make_targets, sign, signatures
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.run_folder import RunFolder
from maintained import ADA, BOB, CAROL, hand_over, promote, rotate_online, signed
from mallory import Mallory
from published import PublishedRun, published

DAY_MS = 86_400_000
START_MS = 1_700_000_000_000
ROOT, ONLINE = Identity.from_seed(b"r" * 32), Identity.from_seed(b"o" * 32)
OFFLINE = Offline.found("tiny-lm", ROOT, ONLINE, START_MS)
RENEWED = ("timestamp", "snapshot", "nightly")


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def content(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all release metadata below a public folder."""
    files = [path for part in ("metadata", "targets") for path in (folder / part).iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def inside(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(data)["signed"]
    return value


def roles_of(publication: Publication) -> dict[str, bytes]:
    """What the next publication finds published."""
    found = {"timestamp": publication.timestamp}
    for name, data in publication.files.items():
        for role in ("snapshot", "nightly"):
            if name.endswith(f".{role}.json"):
                found[role] = data
    return found


def plan(before: dict[str, bytes], at_ms: int, index: bytes = b"{}", offline: Offline = OFFLINE) -> Publication:
    return plan_publication(before, offline, index, ONLINE, at_ms)


# -- decisions ----------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 40 * DAY_MS), st.sampled_from([b"one", b"two"])), max_size=6))
def test_versions_only_grow_and_nothing_is_signed_without_need(story: list[tuple[int, bytes]]) -> None:
    before: dict[str, bytes] = {}
    at_ms, renew_at_ms, index = START_MS, 0, b""
    for passed_ms, wanted in story:
        at_ms += passed_ms
        after = plan(before, at_ms, wanted)
        now = roles_of(after)
        assert after.renew_at_ms > at_ms
        for role, data in before.items():
            assert inside(now[role])["version"] >= inside(data)["version"]
            assert (now[role] == data) == (inside(now[role])["version"] == inside(data)["version"])
        if wanted == index and at_ms < renew_at_ms:
            assert now == before
        assert roles_of(plan(now, at_ms, wanted)) == now
        before, renew_at_ms, index = now, after.renew_at_ms, wanted


@pytest.mark.parametrize("role", RENEWED)
def test_a_signature_is_renewed_when_half_of_its_life_is_over(role: str) -> None:
    before = roles_of(plan({}, START_MS))
    half_ms = int(LIFETIMES[role].total_seconds() * 500)
    assert inside(roles_of(plan(before, START_MS + half_ms - 1000))[role]) == inside(before[role])
    later = roles_of(plan(before, START_MS + half_ms))
    assert inside(later[role])["version"] > inside(before[role])["version"]
    assert inside(later[role])["expires"] > inside(before[role])["expires"]


def test_whoever_renews_when_told_is_never_expired() -> None:
    at_ms, before = START_MS, roles_of(plan({}, START_MS))
    for _ in range(80):
        planned = plan(before, at_ms)
        before = roles_of(planned)
        for data in before.values():
            assert inside(data)["expires"] > f"{as_time(planned.renew_at_ms):%Y-%m-%dT%H:%M:%SZ}"
        at_ms = planned.renew_at_ms
    assert at_ms - START_MS > 30 * DAY_MS


def test_a_clock_that_goes_back_and_metadata_that_was_lost() -> None:
    before = roles_of(plan({}, START_MS))
    earlier = roles_of(plan(before, START_MS - DAY_MS, b"new"))
    assert inside(earlier["timestamp"])["version"] == inside(before["timestamp"])["version"] + 1
    restored = roles_of(plan({}, START_MS + 1000, b"new"))
    assert all(inside(restored[role])["version"] > inside(before[role])["version"] for role in RENEWED)


def test_what_another_key_signed_counts_for_nothing() -> None:
    stranger = Identity.from_seed(b"s" * 32)
    theirs = roles_of(plan_publication({}, Offline.found("x", ROOT, stranger, START_MS), b"{}", stranger, START_MS * 9))
    ours = roles_of(plan(theirs, START_MS))
    assert inside(ours["timestamp"])["version"] == START_MS // 1000
    near = roles_of(plan(theirs, START_MS * 9 - 5000))
    assert all(inside(near[role])["version"] == inside(theirs[role])["version"] + 1 for role in RENEWED)
    with pytest.raises(ConfigValueError, match="the newest root names"):
        plan_publication({}, OFFLINE, b"{}", stranger, START_MS)


# -- roles --------------------------------------------------------------------------------


def test_keys_come_back_from_metadata_and_say_who_is_missing() -> None:
    maintainers = tuple(sorted(who.public for who in (ADA, BOB, CAROL)))
    for stable in (None, 2):
        keys = Keys(maintainers, 2, ONLINE.public, stable)
        root, targets = make_root("tiny-lm", keys, 1, START_MS), make_targets(keys, 1, START_MS)
        assert keys_of(root.signed, targets.signed) == keys
    assert signatures(root.signed, "root", root).missing == 2
    sign(root, ADA)
    sign(root, ADA)
    sign(root, ONLINE)
    half = signatures(root.signed, "root", root)
    assert (half.missing, half.signed, len(half.unsigned)) == (1, (ADA.public,), 2)
    sign(root, CAROL)
    assert signatures(root.signed, "root", root).missing == 0


@pytest.mark.parametrize(
    "keys",
    [
        lambda: Keys((ADA.public, ADA.public), 1, ONLINE.public),
        lambda: Keys((ADA.public,), 1, ADA.public),
        lambda: Keys((ADA.public,), 2, ONLINE.public),
        lambda: Keys((ADA.public,), 0, ONLINE.public),
        lambda: Keys((ADA.public,), 1, ONLINE.public, 2),
        lambda: make_root("x", Keys(("abc",), 1, ONLINE.public), 1, 0),
        lambda: make_root("x", Keys(("g" * 64,), 1, ONLINE.public), 1, 0),
    ],
)
def test_keys_that_cannot_be(keys: Callable[[], object]) -> None:
    with pytest.raises(ConfigValueError):
        keys()


def test_what_maintainers_signed_is_refused_unless_it_belongs_together(tmp_path: Path) -> None:
    keys = Keys((ADA.public, BOB.public), 2, ONLINE.public, 2)
    root, targets = make_root("tiny-lm", keys, 2, START_MS), make_targets(keys, 2, START_MS)
    good = OFFLINE.with_root(signed(root, ROOT, ADA, BOB), signed(targets, ADA, BOB))
    good.write(tmp_path / "offline.json")
    assert Offline.read(tmp_path / "offline.json") == good
    assert good.keys == Keys(tuple(sorted(keys.maintainers)), 2, ONLINE.public, 2)
    few = make_root("tiny-lm", keys, 2, START_MS)
    gap = make_root("tiny-lm", keys, 3, START_MS)
    other = make_root("other-lm", keys, 2, START_MS)
    for bad, error in (
        (OFFLINE.with_root(signed(few, ADA, BOB), good.targets), NotEnoughSignaturesError),
        (OFFLINE.with_root(good.roots[1], OFFLINE.targets), NotEnoughSignaturesError),
        (OFFLINE.with_root(signed(gap, ROOT, ADA, BOB), good.targets), VerificationError),
        (OFFLINE.with_root(signed(other, ROOT, ADA, BOB), good.targets), VerificationError),
        (OFFLINE.with_root(good.targets, good.targets), VerificationError),
        (Offline((), good.targets), VerificationError),
        (Offline(good.roots, good.targets, stable=good.targets), VerificationError),
        (Offline(good.roots, good.targets, good.targets, b"{}"), VerificationError),
        (Offline((b"{}",), good.targets), VerificationError),
    ):
        with pytest.raises(error):
            bad.write(tmp_path / "offline.json")
    assert Offline.read(tmp_path / "offline.json") == good


# -- files --------------------------------------------------------------------------------


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    before = content(run.public)
    inodes = {path: path.stat().st_ino for path in run.public.rglob("*.json")}
    run.write_index()
    assert run.repository.renew(now_ms()) > now_ms()
    assert content(run.public) == before
    assert {path: path.stat().st_ino for path in run.public.rglob("*.json")} == inodes


def test_damaged_metadata_is_published_anew(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    for path in sorted((run.public / "metadata").iterdir()):
        path.write_bytes(path.read_bytes()[:20])
        run.write_index()
        assert read_index(FolderSource(run.public), TrustOptions(home=tmp_path / path.name)).index == run.index()


def test_only_the_newest_versions_are_kept(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    for number in range(KEEP + 3):
        run.channels[f"channel-{number}"] = "0.1.0"
        run.write_index()
    names = [path.name for path in (run.public / "metadata").iterdir()]
    assert sum("nightly" in name for name in names) == sum("snapshot" in name for name in names) == KEEP
    assert len(list((run.public / "targets").iterdir())) == KEEP
    assert sum("root" in name for name in names) == 1
    assert read_index(FolderSource(run.public)).index == run.index()


def test_what_is_published_now_is_kept_though_an_older_key_left_higher_versions(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    hand_over(run)
    thief = Mallory(run.public)  # who was in the coordinator itself
    for number in range(KEEP):
        thief.forges(Identity.load_or_create(RunFolder(run.root).online_key), run.index(), 2**31 - KEEP + number)
    rotate_online(run)
    for number in range(3):
        run.channels[f"channel-{number}"] = "0.1.0"
        run.write_index()
        assert read_index(FolderSource(run.public)).index == run.index()


def test_an_index_cannot_break_a_promise(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    run.channels["stable"] = "0.1.0"
    with pytest.raises(VerificationError, match="no maintainer promoted"):
        run.write_index()
    del run.channels["stable"]
    hand_over(run)
    promote(run, "0.1.0")
    run.channels["stable"] = "0.1.1"
    with pytest.raises(VerificationError, match="no maintainer promoted"):
        run.write_index()
    assert read_index(FolderSource(run.public)).index.channels["stable"] == "0.1.0"


def test_a_key_that_stands_in_for_maintainers_renews_what_they_would(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    run.repository.renew(now_ms() + 180 * DAY_MS)
    assert run.repository.offline.root.version == 1
    run.repository.renew(now_ms() + 190 * DAY_MS)
    run.repository.renew(now_ms() + 191 * DAY_MS)
    offline = run.repository.offline
    assert (offline.root.version, offline.signed_targets.signed.version) == (2, 2)
    assert offline.root.expires > as_time(now_ms() + 500 * DAY_MS)
    assert read_index(FolderSource(run.public)).index == run.index()
    hand_over(run)
    run.repository.renew(now_ms() + 1000 * DAY_MS)
    assert run.repository.offline.root.version == 3


def test_while_maintainers_are_appointed_nothing_is_renewed_over_it(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    folder = RunFolder(run.root)
    with waiting_lock(folder.offline.with_name("lock")):
        before = folder.offline.read_bytes()
        run.repository.renew(now_ms() + 190 * DAY_MS)
        assert folder.offline.read_bytes() == before
        assert read_index(FolderSource(run.public)).index == run.index()
    run.repository.renew(now_ms() + 190 * DAY_MS)
    assert run.repository.offline.root.version == 2


def test_what_maintainers_signed_is_found_again_where_it_is_published(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=2)
    hand_over(run)
    promote(run, "0.1.1")
    before, path = run.repository.offline, RunFolder(run.root).offline
    path.unlink()
    assert run.repository.offline == before
    path.unlink()
    targets = next((run.public / "metadata").glob("2.targets.json"))
    targets.write_bytes((run.public / "metadata" / "1.targets.json").read_bytes())
    with pytest.raises(NotEnoughSignaturesError):
        run.release("0.1.2")
    assert not path.exists()


def test_a_key_that_goes_while_keys_are_read_is_passed_over_and_not_made_again(tmp_path: Path) -> None:
    run = published(tmp_path)
    keys = RunFolder(run.root).keys
    (keys / "online-0.key").symlink_to(keys / "gone.key")  # its name is there, and nothing behind it
    names = sorted(path.name for path in keys.iterdir())
    run.repository.renew(now_ms())
    assert [path.name for path, _ in online_keys(RunFolder(run.root))] == ["online.key"]
    assert sorted(path.name for path in keys.iterdir()) == names


def test_a_run_without_its_online_key_says_so(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    RunFolder(run.root).online_key.unlink()
    with pytest.raises(ConfigValueError, match="keys rotate"):
        run.release("0.1.1")


class PowerCutError(BaseException):
    """What a kill -9 looks like from inside."""


@dataclass
class PowerCut:
    """Stops at a write: ``after`` of them are done, and the next one is not (``undone``) or just is."""

    after: int
    undone: bool
    writes: int = 0

    def cutting(self, really: Callable[..., None]) -> Callable[..., None]:
        def act(*arguments: Any) -> None:
            at, self.writes = self.writes, self.writes + 1
            if at < self.after or not self.undone:
                really(*arguments)
            if at == self.after:
                raise PowerCutError

        return act

    @contextmanager
    def under(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Cuts what publishing writes. Nothing that a dead process would do is done: no clean-up after the cut."""
        with monkeypatch.context() as patched, suppress(PowerCutError):
            for name in ("replace_file", "exchange_folders"):
                patched.setattr(repository_module, name, self.cutting(getattr(repository_module, name)))
            patched.setattr(repository_module.shutil, "rmtree", lambda *_, **__: None)
            yield


STEPS: dict[str, tuple[Callable[[PublishedRun], object], Callable[[PublishedRun], object]]] = {
    "a release": (lambda run: None, lambda run: run.release("0.1.2")),
    "a first publication": (lambda run: shutil.rmtree(run.public / "metadata"), lambda run: run.write_index()),
    "maintainers": (lambda run: None, hand_over),
    "a promotion": (hand_over, lambda run: promote(run, "0.1.1")),
    "an online key": (hand_over, rotate_online),
}


@pytest.mark.parametrize("undone", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_power_cut_at_any_write_a_reader_finds_one_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, undone: bool
) -> None:
    prepare, act = STEPS[step]
    begun = published(tmp_path / "begun", releases=2)
    prepare(begun)
    first = step == "a first publication"
    if not first:
        read_index(FolderSource(begun.public), TrustOptions(home=tmp_path / "seen"))
    for after in range(100):
        run = PublishedRun(tmp_path / f"run-{after}", entries=list(begun.entries), channels=dict(begun.channels))
        run.models.update(begun.models)
        shutil.copytree(begun.root, run.root)
        was = run.index()
        cut = PowerCut(after, undone)
        with cut.under(monkeypatch):
            act(run)
        if not first:  # whoever saw the old state, and whoever sees the run for the first time
            for home in (shutil.copytree(tmp_path / "seen", tmp_path / f"seen-{after}"), tmp_path / f"new-{after}"):
                found = read_index(FolderSource(run.public), TrustOptions(home=Path(home)))
                assert found.index in (was, run.index())
        again = Repository(RunFolder(run.root))
        again.publish(run.index(), now_ms())
        assert read_index(FolderSource(run.public), TrustOptions(home=tmp_path / f"after-{after}")).index == run.index()
        assert not list(run.public.glob(".metadata.new-*"))
        if cut.writes <= after:
            assert after > 2
            return
    raise AssertionError("there is no end of writes")
