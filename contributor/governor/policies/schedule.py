"""Schedule: work in certain hours of the week, by the wall clock.

Hours are what a clock on the wall shows, so the night that daylight saving begins is an hour shorter and the one in
which it ends an hour longer; nothing else changes.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, ClassVar

from pydantic import field_validator

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.policies.local_time import check_zone, local_time
from contributor.governor.wish import Wish

__all__ = ["Schedule", "minutes_of"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN, WEEK_MIN = 24 * 60, 7 * 24 * 60
EXAMPLE = '"mon-fri 18:00-08:00", "sat-sun" or "daily 01:30-06:00"'
LINE = re.compile(r"(?P<days>daily|[a-z]{3}(-[a-z]{3})?)( (?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d))?")


class Schedule(Section):
    """Work in these hours of the week.

    Attributes:
        hours: such as "mon-fri 18:00-08:00"; an end before the start is on the next day.
        zone: of the clock that is meant, "Europe/Berlin"; the machine's own when None.
    """

    name: ClassVar[str] = "schedule"
    sensors: ClassVar[tuple[str, ...]] = ("clock",)
    memory: ClassVar[type[Any] | None] = None
    hours: tuple[str, ...] = ("daily 22:00-08:00",)
    zone: str | None = None

    @field_validator("hours")
    @classmethod
    def _hours_are_hours(cls, hours: tuple[str, ...]) -> tuple[str, ...]:
        for line in hours:
            minutes_of(line)
        return hours

    _zone_is_known = field_validator("zone")(check_zone)

    def judge(self, seen: Observation, state: None) -> tuple[Wish, None]:
        """Work in a minute of the week that one of the lines names."""
        now = local_time(seen.at_ms, seen.utc_offset_s, self.zone)
        if now is None:
            return Wish(False, f"the local time is not known: {seen.why_not('utc_offset_s')}; name a zone"), state
        clock = f"{DAYS[now.weekday()]} {now:%H:%M}"
        to_next_minute_s = 60.0 - now.second
        for line in self.hours:
            if _minute_of_week(now) in minutes_of(line):
                return Wish(True, f"{clock} is in {line!r}", look_again_s=to_next_minute_s), state
        lines = ", ".join(repr(line) for line in self.hours) or "no hours at all"
        return Wish(False, f"{clock} is not in {lines}", look_again_s=to_next_minute_s), state


def minutes_of(line: str) -> frozenset[int]:
    """Minutes of the week, counted from Monday 00:00, that a line of ``hours`` names.

    Raises:
        ValueError: it is not such a line.
    """
    match = LINE.fullmatch(line.strip().lower())
    if match is None:
        raise ValueError(f"{line!r} are not hours of the week; expected is {EXAMPLE}")
    begins_min = 0 if match["from"] is None else _minute_of_day(match["from"], line)
    ends_min = DAY_MIN if match["to"] is None else _minute_of_day(match["to"], line)
    if ends_min <= begins_min:
        ends_min += DAY_MIN
    starts = (day * DAY_MIN + begins_min for day in _days(match["days"], line))
    return frozenset(minute % WEEK_MIN for start in starts for minute in range(start, start + ends_min - begins_min))


def _days(text: str, line: str) -> list[int]:
    first, _, last = ("mon-sun" if text == "daily" else text).partition("-")
    if first not in DAYS or (last and last not in DAYS):
        raise ValueError(f"{line!r}: days are {', '.join(DAYS)}; expected is {EXAMPLE}")
    begin = DAYS.index(first)
    count = (DAYS.index(last or first) - begin) % 7 + 1
    return [(begin + step) % 7 for step in range(count)]


def _minute_of_day(text: str, line: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 24 or minute > 59 or hour * 60 + minute > DAY_MIN:
        raise ValueError(f"{line!r}: {text} is not a time of day; expected is {EXAMPLE}")
    return hour * 60 + minute


def _minute_of_week(now: datetime.datetime) -> int:
    return now.weekday() * DAY_MIN + now.hour * 60 + now.minute
