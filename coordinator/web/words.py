"""Numbers, sizes and times as pages say them: the filters of the templates. Pure; the clock is an argument."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = [
    "FILTERS",
    "ago",
    "clock",
    "date",
    "duration",
    "iso",
    "number",
    "percent",
    "plural",
    "sentence",
    "signed",
    "size",
]

LAST_SECOND = 253_402_300_799  # of the year 9999, the last that datetime can say
NONE = "\N{EN DASH}"


def number(value: float | int | None, digits: int = 3) -> str:
    """A measured number: whole numbers with separators, others with ``digits`` after the point, small ones with two."""
    if value is None:
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, with its sign."""
    if value is None:
        return NONE
    said = number(float(value), digits)
    if value == 0:
        return said
    return said.replace("-", "\N{MINUS SIGN}", 1) if value < 0 else f"+{said}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share."""
    return NONE if value is None else f"{100 * value:.{digits}f}%"


def size(count: float | None) -> str:
    """Bytes in the unit that fits, of 1,000."""
    if count is None:
        return NONE
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:,.0f} {unit}" if unit == "bytes" or abs(value) >= 99.5 else f"{value:.3g} {unit}"


def sentence(text: str) -> str:
    """A reason as a sentence of its own: it begins with a capital letter, but for a name, and ends with a full stop."""
    is_word = text.split(" ", 1)[0].rstrip(":;,").isalpha()
    begun = text[:1].upper() + text[1:] if is_word else text
    return begun if not begun or begun[-1] in ".!?" else f"{begun}."


def plural(count: int, one: str, many: str = "") -> str:
    """``3 updates``, ``1 update``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(milliseconds: float) -> str:
    """A length of time, in its two largest units."""
    seconds = max(0, round(milliseconds / 1000))
    for unit_s, unit, part_s, part in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit_s:
            rest = seconds % unit_s // part_s
            return f"{seconds // unit_s} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{seconds} s"


def ago(at_ms: int, now_ms: int) -> str:
    """How long ago, in one unit; what is to come as well."""
    away_s = abs(now_ms - at_ms) // 1000
    for unit_s, unit in ((86_400 * 365, "year"), (86_400, "day"), (3600, "hour"), (60, "minute")):
        if away_s >= unit_s:
            said = plural(away_s // unit_s, unit)
            return f"{said} ago" if at_ms <= now_ms else f"in {said}"
    return "just now" if away_s < 5 else f"{away_s} seconds ago" if at_ms <= now_ms else f"in {away_s} seconds"


def date(at_ms: int) -> str:
    """A moment, in UTC, to the minute."""
    return f"{_moment(at_ms):%Y-%m-%d %H:%M}"


def clock(at_ms: int) -> str:
    """The time of day, in UTC."""
    return f"{_moment(at_ms):%H:%M:%S}"


def iso(at_ms: int) -> str:
    """As ``<time datetime>`` wants it."""
    return f"{_moment(at_ms):%Y-%m-%dT%H:%M:%SZ}"


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(max(0, at_ms) // 1000, LAST_SECOND), UTC)


FILTERS = {
    "number": number,
    "signed": signed,
    "percent": percent,
    "sentence": sentence,
    "size": size,
    "plural": plural,
    "duration": duration,
    "date": date,
    "clock": clock,
    "iso": iso,
}
