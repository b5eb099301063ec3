"""Ranges against tables and laws; DESIGN section 7 as a table of cases."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semver import Version

from barnraise.errors import BadVersionError, NoSuchVersionError
from barnraise.promises import Difference
from barnraise.versions import Change, Range, Selection, next_version, parse_version, select, split_spec

NUMBERS = st.integers(0, 4)
VERSIONS = st.builds(lambda a, b, c: f"{a}.{b}.{c}", NUMBERS, NUMBERS, NUMBERS)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1.2.3", "1.2.3", "1.2.4"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        ("1.2", "1.2.0", "1.3.0"),
        ("1.2.x", "1.2.0", "1.3.0"),
        ("1.*", "1.0.0", "2.0.0"),
        ("1", "1.0.0", "2.0.0"),
        ("*", "0.0.0", None),
        ("x", "0.0.0", None),
        ("^1.2.3", "1.2.3", "2.0.0"),
        ("^1.2", "1.2.0", "2.0.0"),
        ("^1", "1.0.0", "2.0.0"),
        ("^0.1", "0.1.0", "0.2.0"),
        ("^0.2.3", "0.2.3", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.0", "0.1.0"),
        ("^0", "0.0.0", "1.0.0"),
        ("^0.x", "0.0.0", "1.0.0"),
        ("~1.2.3", "1.2.3", "1.3.0"),
        ("~1.2", "1.2.0", "1.3.0"),
        ("~1", "1.0.0", "2.0.0"),
        (">=1.2", "1.2.0", None),
        (">1.2", "1.3.0", None),
        (">1.2.3", "1.2.4", None),
        ("<1.2", "0.0.0", "1.2.0"),
        ("<=1.2", "0.0.0", "1.3.0"),
        ("<=1.2.3", "0.0.0", "1.2.4"),
        (">=1.2, <1.9.4", "1.2.0", "1.9.4"),
        (">=1.2 <1.9.4", "1.2.0", "1.9.4"),
        (">= 1.2 < 1.9.4", "1.2.0", "1.9.4"),
        ("^1.2,~1.4.1", "1.4.1", "1.5.0"),
    ],
)
def test_a_range_is_an_interval(text: str, low: str, high: str | None) -> None:
    assert Range.parse(text) == Range(Version.parse(low), None if high is None else Version.parse(high))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1.2.3.4", "v1.2.3", "01.2.3", "1.x.3", "^", "1.2.3-rc.1", "1.2.3+b", "!=1.2.3", "1 || 2"),
        *("\u0661.0.0", "1.2.3\n;", "9999999999.0.0", "1." * 100, "^1.2,", "../1.2.3"),
    ],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(BadVersionError):
        Range.parse(text)


@pytest.mark.parametrize(
    "text", ["1.2", "1.2.3\n", " 1.2.3", "1.2.3-rc", "1.2.3+x", "01.2.3", "\u0661.0.0", "", "1.2.3" * 99]
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(BadVersionError):
        parse_version(text)


@settings(deadline=None)
@given(base=VERSIONS, other=VERSIONS)
def test_a_caret_never_crosses_the_leftmost_non_zero_number(base: str, other: str) -> None:
    old, new = parse_version(base), parse_version(other)
    left = next((i for i, part in enumerate(old.to_tuple()[:3]) if part), 2)
    same = old.to_tuple()[: left + 1] == new.to_tuple()[: left + 1]
    assert (new in Range.parse(f"^{base}")) == (same and new >= old)


@settings(deadline=None)
@given(left=VERSIONS, right=VERSIONS, version=VERSIONS)
def test_a_comma_means_and(left: str, right: str, version: str) -> None:
    found = parse_version(version)
    both = found in Range.parse(f">={left}, <={right}")
    assert both == (found in Range.parse(f">={left}") and found in Range.parse(f"<={right}"))
    assert (found in Range.parse(f">{left}")) != (found in Range.parse(f"<={left}"))


RELEASES = {"0.1.0": None, "0.1.1": None, "0.1.10": None, "0.1.11": "leaked a test", "0.2.0": None, "1.0.0": "broken"}
CHANNELS = {"nightly": "0.2.0", "old": "0.1.11"}
STABLE_AT = {**CHANNELS, "stable": "0.1.1"}
PROMOTED = ("0.1.0", "0.1.1", "0.1.10", "1.0.0")


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("^0.1", "0.1.10"),
        ("*", "0.2.0"),
        ("0.1.1", "0.1.1"),
        ("nightly", "0.2.0"),
        ("<0.1.10", "0.1.1"),
        ("=0.2.0", "0.2.0"),
    ],
)
def test_before_a_promotion_a_range_takes_the_newest_that_fits(wanted: str, version: str) -> None:
    assert select(RELEASES, wanted, CHANNELS) == Selection(version)


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("^0.1", "0.1.1"),
        ("*", "0.1.1"),
        ("<0.1.1", "0.1.0"),
        ("stable", "0.1.1"),
        ("nightly", "0.2.0"),
        ("=0.2.0", "0.2.0"),
        ("0.1.10", "0.1.10"),
    ],
)
def test_after_a_promotion_a_range_goes_no_further_than_stable(wanted: str, version: str) -> None:
    assert select(RELEASES, wanted, STABLE_AT, PROMOTED) == Selection(version)


@pytest.mark.parametrize("wanted", ["0.1.11", "=0.1.11"])
def test_a_yanked_release_comes_by_exact_number_with_a_warning(wanted: str) -> None:
    assert select(RELEASES, wanted, CHANNELS) == Selection("0.1.11", "0.1.11 was yanked: leaked a test")
    assert select(RELEASES, wanted, STABLE_AT, PROMOTED) == select(RELEASES, wanted, CHANNELS)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("^0.3", "the nearest is 0.2.0$"),
        ("0.1.5", "the nearest is 0.1.1 or 0.1.10$"),
        (
            "^1",
            r"nothing satisfies '\^1': 1.0.0 was yanked; ask for =1.0.0 to have it anyway. The nearest .* is 0.2.0$",
        ),
        ("old", "was yanked: leaked a test"),
        ("stable", "there is no channel 'stable'; channels: nightly, old"),
        ("beta", "there is no channel 'beta'; channels: nightly, old"),
    ],
)
def test_select_says_what_is_near(wanted: str, message: str) -> None:
    with pytest.raises(NoSuchVersionError, match=message):
        select(RELEASES, wanted, CHANNELS)


@pytest.mark.parametrize(
    ("wanted", "promoted", "message"),
    [
        (
            "^0.2",
            PROMOTED,
            r"0\.2\.0 was not promoted; ask for =0\.2\.0 to have it anyway\. The nearest .* is 0\.1\.1$",
        ),
        (">0.1.1, <0.1.11", PROMOTED, r"0\.1\.10 is above 0\.1\.1, where stable is; ask for =0\.1\.10"),
        ("^1", PROMOTED, r"1\.0\.0 was yanked"),
        ("^0.3", PROMOTED, r"the nearest is 0\.1\.1$"),
        ("*", (), r"1\.0\.0 was yanked; ask for =1\.0\.0 to have it anyway$"),
        ("<0.1.11", (), r"0\.1\.10 was not promoted; ask for =0\.1\.10 to have it anyway$"),
        ("stable", (), r"channel stable is at 0\.1\.1, which nobody promoted"),
        ("stable", ("0.1.0",), r"channel stable is at 0\.1\.1, which nobody promoted"),
    ],
)
def test_select_says_what_was_not_promoted(wanted: str, promoted: tuple[str, ...], message: str) -> None:
    with pytest.raises(NoSuchVersionError, match=message):
        select(RELEASES, wanted, STABLE_AT, promoted)


RUNS = st.dictionaries(VERSIONS, st.sampled_from([None, None, "broken"]), min_size=1)


@st.composite
def stable_runs(draw: st.DrawFn) -> tuple[dict[str, str | None], list[str], dict[str, str]]:
    """Releases, some of them promoted, and channels of which ``stable`` is at a promoted one, if there is one."""
    releases = draw(RUNS)
    promoted = draw(st.lists(st.sampled_from(sorted(releases)), unique=True, min_size=1))
    channels = {"nightly": max(releases, key=parse_version)}
    if draw(st.booleans()):
        channels["stable"] = draw(st.sampled_from(promoted))
    return releases, promoted, channels


@settings(deadline=None)
@given(run=stable_runs(), wanted=st.sampled_from(["*", "^0", "^1", "~0.1", ">=1.1", "<2", "^0.0.1"]))
def test_a_range_takes_the_newest_of_those_that_it_may(
    run: tuple[dict[str, str | None], list[str], dict[str, str]], wanted: str
) -> None:
    releases, promoted, channels = run
    ceiling = channels.get("stable", "9.9.9")
    may = [
        version
        for version in map(parse_version, releases)
        if releases[str(version)] is None
        and str(version) in promoted
        and version <= parse_version(ceiling)
        and version in Range.parse(wanted)
    ]
    if may:
        assert select(releases, wanted, channels, promoted) == Selection(str(max(may)))
    else:
        with pytest.raises(NoSuchVersionError):
            select(releases, wanted, channels, promoted)


@settings(deadline=None)
@given(run=stable_runs(), version=VERSIONS, moved=st.randoms(use_true_random=False))
def test_what_a_stolen_online_key_can_do_to_ranges(
    run: tuple[dict[str, str | None], list[str], dict[str, str]], version: str, moved: random.Random
) -> None:
    """It can add releases, yank, and move channels: no range and not ``stable`` ever leaves what was promoted."""
    releases, promoted, channels = run
    forged = {**releases, version: None}
    pointers = {**channels, "stable": moved.choice(sorted(forged))}
    for wanted in ("*", f">={version}", "stable"):
        try:
            assert select(forged, wanted, pointers, promoted).version in promoted
        except NoSuchVersionError:
            continue


@settings(deadline=None)
@given(run=stable_runs())
def test_moving_stable_back_takes_ranges_along(run: tuple[dict[str, str | None], list[str], dict[str, str]]) -> None:
    releases, promoted, channels = run
    for version in (each for each in promoted if releases[each] is None):
        assert select(releases, "*", {**channels, "stable": version}, promoted) == Selection(version)


def test_select_before_the_first_release() -> None:
    with pytest.raises(NoSuchVersionError, match="no release has been tagged yet"):
        select({}, "*")


def test_split_spec() -> None:
    assert split_spec("stdlib-lm@^0.1") == ("stdlib-lm", "^0.1")
    assert split_spec("stdlib-lm") == ("stdlib-lm", "*")
    assert split_spec("@0.1") == ("", "0.1")


GREW = Change(same_architecture=False, carried_over_share=0.8)
LOOSER = Difference(loosened={"text": "margin 0.05 -> 0.1"})
STRICTER = Difference(tightened={"text": "margin 0.05 -> 0.01"})
RENAMED = Difference(added=("prose",), dropped={"text": "prose"})
ACCEPTED = Change(regressions_accepted={"loss-text": "faster"})
CASES = [
    # parent, what changed, version, bump, part of the reason
    (None, Change(), "0.1.0", "first", "first release"),
    ("0.1.0", Change(), "0.1.1", "patch", "no supported test is worse"),
    ("0.1.9", Change(), "0.1.10", "patch", "no supported test is worse"),
    ("0.1.3", GREW, "0.1.4", "minor", "80% of the parameters carried over"),
    ("0.1.3", Change(tests=Difference(added=("speech",))), "0.1.4", "minor", "newly supports speech"),
    ("0.1.3", Change(same_signature=False), "0.2.0", "major", "signature changed"),
    ("0.1.3", Change(tests=Difference(dropped={"speech": ""})), "0.2.0", "major", "no longer supports speech"),
    ("0.1.3", Change(promoted=True), "1.0.0", "major", "promotion to stable"),
    ("1.4.2", Change(), "1.4.3", "patch", "no supported test is worse"),
    ("1.4.2", Change(promoted=True), "1.4.3", "patch", "no supported test is worse"),
    ("1.4.2", GREW, "1.5.0", "minor", "architecture changed"),
    ("1.4.2", Change(tests=Difference(added=("a", "b"))), "1.5.0", "minor", "newly supports a, b"),
    ("1.4.2", Change(same_architecture=False, carried_over_share=0.5), "2.0.0", "major", "only 50% of the parameters"),
    ("1.4.2", Change(carried_over_share=0.1), "2.0.0", "major", "only 10% of the parameters"),
    (
        "1.4.2",
        Change(regressions_accepted={"loss-text": "faster"}),
        "2.0.0",
        "major",
        "accepted that loss-text got worse",
    ),
    ("1.4.2", Change(same_signature=False, tests=Difference(added=("a",))), "2.0.0", "major", "signature changed"),
    ("0.1.3", ACCEPTED, "0.2.0", "major", "the operator accepted that loss-text got worse: faster"),
    (
        "1.4.2",
        Change(regressions_accepted={"a": "x", "b": "y"}),
        "2.0.0",
        "major",
        "accepted that a got worse: x; the operator accepted that b got worse: y",
    ),
    ("0.1.3", replace(ACCEPTED, promoted=True), "1.0.0", "major", "got worse: faster; the first release since"),
    ("1.4.2", Change(tests=RENAMED), "2.0.0", "major", "text is called prose now"),
    ("1.4.2", Change(tests=Difference(replaced=("a",))), "2.0.0", "major", "a asks something else now"),
    ("1.4.2", Change(tests=Difference(replaced=("a", "b"))), "2.0.0", "major", "a, b ask something else now"),
    ("1.4.2", Change(tests=LOOSER), "2.0.0", "major", "text asks less strictly: margin 0.05 -> 0.1"),
    ("0.1.3", Change(tests=LOOSER), "0.2.0", "major", "less strictly"),
    ("1.4.2", Change(tests=STRICTER), "1.5.0", "minor", "text asks more strictly: margin 0.05 -> 0.01"),
    ("0.1.3", Change(tests=STRICTER), "0.1.4", "minor", "more strictly"),
    (
        "1.4.2",
        Change(tests=Difference(added=("a",), dropped={"b": ""})),
        "2.0.0",
        "major",
        "it no longer supports b; it newly supports a",
    ),
    (
        "1.4.2",
        replace(GREW, regressions_accepted={"a": "x"}),
        "2.0.0",
        "major",
        "a got worse: x; the architecture changed",
    ),
    ("0.9.9", Change(), "0.9.10", "patch", "no supported test is worse"),
    ("1.9.9", Change(tests=STRICTER), "1.10.0", "minor", "more strictly"),
]


@pytest.mark.parametrize(("parent", "change", "version", "bump", "reason"), CASES)
def test_what_a_version_number_means(parent: str | None, change: Change, version: str, bump: str, reason: str) -> None:
    decision = next_version(parent, change)
    assert (decision.version, decision.bump) == (version, bump)
    assert reason in decision.reason


@settings(deadline=None)
@given(parent=VERSIONS, grew=st.booleans(), broke=st.booleans(), promoted=st.booleans())
def test_versions_only_grow_and_carets_keep_their_promise(parent: str, grew: bool, broke: bool, promoted: bool) -> None:
    decision = next_version(parent, Change(same_architecture=not grew, same_signature=not broke, promoted=promoted))
    new = parse_version(decision.version)
    assert new > parse_version(parent)
    if broke and parse_version(parent) >= Version(0, 1):
        assert new not in Range.parse(f"^{parent}")


NAMES = st.sets(st.sampled_from("abcd")).map(lambda names: tuple(sorted(names)))
WORDS = NAMES.map(lambda names: dict.fromkeys(names, "x"))
DIFFERENCES = st.builds(Difference, added=NAMES, dropped=WORDS, replaced=NAMES, loosened=WORDS, tightened=WORDS)
CHANGES = st.builds(
    Change,
    same_architecture=st.booleans(),
    same_signature=st.booleans(),
    carried_over_share=st.floats(0, 1),
    tests=DIFFERENCES,
    regressions_accepted=WORDS,
    promoted=st.booleans(),
)


def both(one: Change, other: Change) -> Change:
    """Everything that either of them changes."""
    tests = {
        "added": one.tests.added + other.tests.added,
        "dropped": {**one.tests.dropped, **other.tests.dropped},
        "replaced": one.tests.replaced + other.tests.replaced,
        "loosened": {**one.tests.loosened, **other.tests.loosened},
        "tightened": {**one.tests.tightened, **other.tests.tightened},
    }
    return Change(
        same_architecture=one.same_architecture and other.same_architecture,
        same_signature=one.same_signature and other.same_signature,
        carried_over_share=min(one.carried_over_share, other.carried_over_share),
        tests=Difference(**tests),
        regressions_accepted={**one.regressions_accepted, **other.regressions_accepted},
        promoted=one.promoted or other.promoted,
    )


@settings(deadline=None)
@given(parent=VERSIONS, one=CHANGES, other=CHANGES)
def test_what_changes_more_never_gets_the_smaller_number(parent: str, one: Change, other: Change) -> None:
    less, more = next_version(parent, one), next_version(parent, both(one, other))
    assert parse_version(less.version) <= parse_version(more.version)
    assert ["patch", "minor", "major"].index(less.bump) <= ["patch", "minor", "major"].index(more.bump)


@settings(deadline=None)
@given(parent=VERSIONS.filter(lambda text: parse_version(text) >= Version(0, 1)), change=CHANGES)
def test_no_range_leads_to_what_breaks_it_and_every_reason_is_told(parent: str, change: Change) -> None:
    decision = next_version(parent, change)
    broken = [*change.tests.dropped, *change.tests.replaced, *change.tests.loosened, *change.regressions_accepted]
    if broken or not change.same_signature or change.carried_over_share <= 0.5:
        assert decision.bump == "major"
        assert parse_version(decision.version) not in Range.parse(f"^{parent}")
    elif not change.promoted:
        assert decision.bump != "major"
        assert parse_version(decision.version) in Range.parse(f"^{parent}")
    assert all(name in decision.reason for name in broken)


def test_a_share_is_a_share() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="carried_over_share"):
            Change(carried_over_share=share)
