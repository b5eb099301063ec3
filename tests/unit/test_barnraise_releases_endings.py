"""Who is told, and when, that maintainers have to sign again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.clock import now_ms
from barnraise.identity import Identity
from barnraise.releases.endings import CONSUMERS_TOLD, MAINTAINERS_TOLD, ending, ending_in_words
from barnraise.releases.source import FolderSource
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.run_folder import RunFolder
from published import PublishedRun, published

DAY_MS = 86_400_000
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["root", "targets", "stable"]), st.integers(-400, 400)), st.integers(1, 90))
def test_exactly_what_ends_within_the_time_is_told(left_days: dict[str, int], within_days: int) -> None:
    expires = {role: NOW + timedelta(days=days) for role, days in left_days.items()}
    within = timedelta(days=within_days)
    found = ending(expires, NOW, within)
    assert set(found) == {role for role, days in left_days.items() if days < within_days}
    assert (ending_in_words(expires, NOW, within) is None) == (not found)


def test_what_ends_first_is_said_with_its_day() -> None:
    expires = {"root": NOW + timedelta(days=9), "targets": NOW + timedelta(days=9), "stable": NOW + timedelta(days=12)}
    words = ending_in_words(expires, NOW, CONSUMERS_TOLD)
    assert words == "what maintainers signed (root, targets) holds until 2026-11-30, 9 days from now"
    words = ending_in_words({"stable": NOW + timedelta(days=1, hours=3)}, NOW, CONSUMERS_TOLD)
    assert words == "what maintainers signed (stable) holds until 2026-11-22, 1 day from now"
    words = ending_in_words({"root": NOW - timedelta(days=2)}, NOW, CONSUMERS_TOLD)
    assert words == "what maintainers signed (root) ended to hold on 2026-11-19"


def signed_days_ago(root: Path, days: int) -> PublishedRun:
    """A run whose root and targets were signed then, and whose root key is elsewhere."""
    run = published(root)
    run.as_run_folder()
    folder = RunFolder(run.root)
    signer = Identity.load(folder.root_key)
    folder.root_key.unlink()
    run.repository.offline.renewed(signer, now_ms() - days * DAY_MS).write(folder.offline)
    run.repository.renew(now_ms())
    return run


@pytest.mark.parametrize(("days", "consumers", "maintainers"), [(300, 0, 0), (310, 0, 1), (350, 0, 1), (355, 1, 1)])
def test_maintainers_are_told_long_before_consumers(
    tmp_path: Path, days: int, consumers: int, maintainers: int
) -> None:
    run = signed_days_ago(tmp_path / "run", days)
    for source in (FolderSource(run.root), FolderSource(run.public)):  # believed, and by python-tuf's client
        warnings = read_index(source, TrustOptions(home=tmp_path / "trust")).warnings
        assert len(warnings) == consumers
        assert all("what maintainers signed (root, targets) holds until" in warning for warning in warnings)
    told = run.repository.ending(now_ms())
    assert (told is not None) == bool(maintainers)
    assert told is None or told.endswith("they sign it again with: barnraise keys renew")
    assert MAINTAINERS_TOLD > CONSUMERS_TOLD
