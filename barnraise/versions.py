"""What a version number means: computed from what changed, chosen by range, exact number or channel.

A version is MAJOR.MINOR.PATCH and nothing else: nobody types one, so there are no pre-releases
and no build parts. That makes every range one half-open interval of versions:

    ^1.2.3   >=1.2.3 <2.0.0     ^0.1    >=0.1.0 <0.2.0     ^0.0.3   >=0.0.3 <0.0.4
    ~1.2.3   >=1.2.3 <1.3.0     ~1      >=1.0.0 <2.0.0
    1.2.x    >=1.2.0 <1.3.0     1       >=1.0.0 <2.0.0     *        everything
    1.2.3    exactly that       >=1.2, <1.9.4   both hold (a space does as well as a comma)

The next number follows from what changed. From 1.0.0 on a bump moves the number of its name; below,
a major one moves the middle number and every other one the last, so that ^0.y means what it says.

    major   the signature changed; at most half of the parameters carried over; a supported test is gone,
            has another name, is not supported any more, asks something else or asks less strictly; the
            operator accepted by name that a test got worse
    minor   the architecture grew; a test is newly supported, or asks more strictly
    patch   everything else that passed

What more than one of them says has the highest bump and all of their reasons. docs/versions.md has
every odd case. What becomes of tests is in promises.py.

Source: https://semver.org; carets as in Cargo,
https://doc.rust-lang.org/cargo/reference/specifying-dependencies.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from semver import Version

from barnraise.errors import BadVersionError, NoSuchVersionError
from barnraise.promises import Difference

__all__ = [
    "STABLE",
    "Change",
    "Range",
    "Selection",
    "VersionDecision",
    "is_channel",
    "next_version",
    "parse_version",
    "select",
    "split_spec",
]

STABLE = "stable"
"""The channel that points at promoted releases only, and above which no range goes."""
TEXT_MAX = 128
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\Z")
_NUMBER = r"(?:0|[1-9][0-9]{0,8}|[xX*])"
_TERM = re.compile(rf"(\^|~|>=|<=|>|<|=|)\s*({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?\Z")
_SPLIT = re.compile(r"\s*,\s*|(?<=[0-9xX*])\s+")
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{1,31}\Z")


def parse_version(text: str) -> Version:
    """A version from its text.

    Raises:
        BadVersionError: anything but MAJOR.MINOR.PATCH.
    """
    match = _VERSION.match(text[:TEXT_MAX])
    if not match:
        raise BadVersionError(f"{text[:TEXT_MAX]!a} is not a version; one looks like 1.4.0")
    return Version(*(int(part) for part in match.groups()))


def is_channel(text: str) -> bool:
    """Whether ``text`` can name a channel, such as ``stable``."""
    return _CHANNEL.match(text) is not None


def split_spec(text: str) -> tuple[str, str]:
    """``NAME@RANGE`` as its two parts; without ``@RANGE`` the range is ``*``.

    The name is not checked here: whoever uses it compares it with names that were.
    """
    name, _, wanted = text.partition("@")
    return name, wanted.strip() or "*"


@dataclass(frozen=True, slots=True)
class Range:
    """The versions from ``low`` on and below ``high`` (None: no end)."""

    low: Version
    high: Version | None

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read a range; see the module's table.

        Raises:
            BadVersionError: not a range.
        """
        if not text.strip() or len(text) > TEXT_MAX:
            raise BadVersionError(f"a range has 1 to {TEXT_MAX} characters, this one {len(text)}; try ^1.2")
        found = cls(Version(0), None)
        for term in _SPLIT.split(text.strip()):
            match = _TERM.match(term)
            if not match:
                raise BadVersionError(
                    f"{text!a} is no version, range or channel; expected something like 1.2.3, ^1.2, ~1.2.3, "
                    "1.x, '>=1.2, <1.9' or stable"
                )
            operator, *parts = match.groups()
            found = found & cls._of_term(operator, _numbers(text, parts))
        return found

    @classmethod
    def _of_term(cls, operator: str, numbers: list[int]) -> Range:
        """The interval of one comparison; ``numbers`` are the 0 to 3 parts that were given."""
        low = _filled(numbers)
        after = _after(numbers)
        match operator:
            case "^":
                significant = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
                return cls(low, _after(numbers[: significant + 1]))
            case "~":
                return cls(low, _after(numbers[:2]))
            case ">=":
                return cls(low, None)
            case ">":
                return cls(after, None) if after is not None else cls(Version(1), Version(0))
            case "<":
                return cls(Version(0), low)
            case "<=":
                return cls(Version(0), after)
            case _:
                return cls(low, after)

    def __and__(self, other: Range) -> Range:
        highs = [high for high in (self.high, other.high) if high is not None]
        return Range(max(self.low, other.low), min(highs) if highs else None)

    def __contains__(self, version: Version) -> bool:
        return self.low <= version and (self.high is None or version < self.high)


def _numbers(text: str, parts: list[str | None]) -> list[int]:
    """The leading numbers of ``1.2.x``; after a wildcard no number may follow."""
    given = [part for part in parts if part is not None]
    wild = [part in {"x", "X", "*"} for part in given]
    if wild != sorted(wild):
        raise BadVersionError(f"{text!a}: after a wildcard only wildcards make sense")
    return [int(part) for part, is_wild in zip(given, wild, strict=True) if not is_wild]


def _filled(numbers: list[int]) -> Version:
    return Version(*numbers, *([0] * (3 - len(numbers))))


def _after(numbers: list[int]) -> Version | None:
    """The first version beyond all that begin with ``numbers``; None when those are all there are."""
    if not numbers:
        return None
    return _filled([*numbers[:-1], numbers[-1] + 1])


@dataclass(frozen=True, slots=True)
class Selection:
    """The version to use, and what its user should be warned of."""

    version: str
    warning: str | None = None


def select(
    yanked: Mapping[str, str | None],
    wanted: str,
    channels: Mapping[str, str] | None = None,
    promoted: Collection[str] | None = None,
) -> Selection:
    """The release that is wanted.

    An exact version is any release. A channel is where it points; ``stable`` points at promoted
    releases only. A range takes the newest release that fits and was not yanked; once there are
    maintainers who can promote, only of the promoted ones, and none above ``stable``: when that
    channel is moved back, ranges follow.

    Args:
        yanked: every released version -> why it was yanked, or None.
        wanted: a range, an exact version, or a channel.
        channels: channel -> version.
        promoted: versions that maintainers promoted; None where there are no maintainers.

    Raises:
        BadVersionError: ``wanted`` is none of the three.
        NoSuchVersionError: nothing satisfies it; the message names the nearest.
    """
    channels = channels or {}
    if wanted in channels or is_channel(wanted):
        return _select_channel(yanked, wanted, channels, promoted)
    exact = wanted.strip().removeprefix("=").strip()
    if exact in yanked:
        reason = yanked[exact]
        return Selection(exact, None if reason is None else f"{exact} was yanked: {reason}")
    span = Range.parse(wanted)
    ceiling = parse_version(channels[STABLE]) if STABLE in channels else None
    listed = sorted(parse_version(version) for version in yanked)
    barred = {version: _why_no_range(str(version), yanked, promoted, ceiling) for version in listed}
    fitting = [version for version in listed if version in span and barred[version] is None]
    if fitting:
        return Selection(str(fitting[-1]))
    raise NoSuchVersionError(_nothing(wanted, span, barred))


def _select_channel(
    yanked: Mapping[str, str | None], channel: str, channels: Mapping[str, str], promoted: Collection[str] | None
) -> Selection:
    version = channels.get(channel)
    if version is None or version not in yanked:
        known = ", ".join(sorted(channels)) or "none yet"
        raise NoSuchVersionError(f"there is no channel {channel!a}; channels: {known}. Ask for a range such as ^0.1")
    if yanked[version] is not None:
        raise NoSuchVersionError(
            f"channel {channel} is at {version}, which was yanked: {yanked[version]}. "
            f"Ask for a range, or for ={version} to have it anyway"
        )
    if channel == STABLE and version not in (promoted or ()):
        raise NoSuchVersionError(
            f"channel {channel} is at {version}, which nobody promoted. Ask for ={version} to have it"
        )
    return Selection(version)


def _why_no_range(
    version: str, yanked: Mapping[str, str | None], promoted: Collection[str] | None, ceiling: Version | None
) -> str | None:
    """Why no range may choose a release; None when it may."""
    if yanked[version] is not None:
        return "was yanked"
    if promoted is None:
        return None
    if version not in promoted:
        return "was not promoted"
    if ceiling is not None and parse_version(version) > ceiling:
        return f"is above {ceiling}, where {STABLE} is"
    return None


def _nothing(wanted: str, span: Range, barred: Mapping[Version, str | None]) -> str:
    """Why nothing satisfies a range, and what is near; ``barred`` is every release, oldest first."""
    usable = [version for version, reason in barred.items() if reason is None]
    below = [version for version in usable if version < span.low]
    above = [version for version in usable if span.high is not None and version >= span.high]
    nearest = " or ".join(str(version) for version in (*below[-1:], *above[:1]))
    inside = [version for version in barred if version in span]
    if inside:
        newest = inside[-1]
        told = f"nothing satisfies {wanted!a}: {newest} {barred[newest]}; ask for ={newest} to have it anyway"
        return f"{told}. The nearest otherwise is {nearest}" if nearest else told
    if nearest:
        return f"nothing satisfies {wanted!a}; the nearest is {nearest}"
    return f"nothing satisfies {wanted!a}: no release {'may be chosen by a range' if barred else 'has been tagged yet'}"


Bump = Literal["first", "patch", "minor", "major"]


@dataclass(frozen=True, slots=True)
class Change:
    """What is different between a candidate that passed and its parent.

    Attributes:
        same_architecture: the same tensors and hyperparameters.
        same_signature: what goes in and comes out means the same.
        carried_over_share: share of the parent's parameters that live on, in [0, 1].
        tests: what became of the promises that supported tests make.
        regressions_accepted: test name -> the operator's reason for accepting that it got worse.
        promoted: the model has been promoted to ``stable`` before.
    """

    same_architecture: bool = True
    same_signature: bool = True
    carried_over_share: float = 1.0
    tests: Difference = field(default_factory=Difference)
    regressions_accepted: Mapping[str, str] = field(default_factory=dict)
    promoted: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.carried_over_share <= 1:
            raise ValueError(f"carried_over_share is {self.carried_over_share}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class VersionDecision:
    """The next version and why it is that one."""

    version: str
    bump: Bump
    reason: str


def next_version(parent: str | None, change: Change) -> VersionDecision:
    """Number a candidate that passed its acceptance tests.

    Below 1.0.0 a breaking change moves the middle number and everything else the last one, so
    that ``^0.y`` means what it says. The first release after a promotion to ``stable`` is 1.0.0.

    Raises:
        BadVersionError: ``parent`` is not a version.
    """
    if parent is None:
        return VersionDecision("0.1.0", "first", "the first release of this model")
    old = parse_version(parent)
    breaking, growing = _breaking(change), _growing(change)
    bump: Bump = "major" if breaking else "minor" if growing else "patch"
    reason = "; ".join([*breaking, *growing]) or "same architecture and signature, and no supported test is worse"
    if old.major > 0:
        new = {"major": old.bump_major, "minor": old.bump_minor, "patch": old.bump_patch}[bump]()
    elif change.promoted:
        bump, new, reason = "major", Version(1), f"{reason}; the first release since the promotion to stable"
    else:
        new = old.bump_minor() if bump == "major" else old.bump_patch()
    return VersionDecision(str(new), bump, reason)


def _breaking(change: Change) -> list[str]:
    """Why a change breaks what its users rely on; empty when it does not."""
    tests, reasons = change.tests, []
    if not change.same_signature:
        reasons.append("its input/output signature changed")
    if change.carried_over_share <= 0.5:
        reasons.append(f"only {change.carried_over_share:.0%} of the parameters carried over")
    if gone := [name for name, new in tests.dropped.items() if not new]:
        reasons.append(f"it no longer supports {', '.join(gone)}")
    reasons += [f"{name} is called {new} now" for name, new in tests.dropped.items() if new]
    if tests.replaced:
        asks = "ask" if len(tests.replaced) > 1 else "asks"
        reasons.append(f"{', '.join(tests.replaced)} {asks} something else now")
    reasons += [f"{name} asks less strictly: {what}" for name, what in tests.loosened.items()]
    reasons += [
        f"the operator accepted that {test} got worse: {why}" for test, why in change.regressions_accepted.items()
    ]
    return reasons


def _growing(change: Change) -> list[str]:
    """What a release has that those before it had not; a test under a new name is not new."""
    tests, reasons = change.tests, []
    if not change.same_architecture:
        reasons.append(f"the architecture changed and {change.carried_over_share:.0%} of the parameters carried over")
    if new := [name for name in tests.added if name not in tests.dropped.values()]:
        reasons.append(f"it newly supports {', '.join(new)}")
    reasons += [f"{name} asks more strictly: {what}" for name, what in tests.tightened.items()]
    return reasons
