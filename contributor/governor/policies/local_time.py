"""Wall clocks: what an instant is called where the owner lives, with daylight saving."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["check_zone", "local_time"]


def local_time(at_ms: int, utc_offset_s: float | None, zone: str | None) -> datetime.datetime | None:
    """The wall clock at an instant, without a zone; None when nobody knows how far it is from UTC.

    Args:
        utc_offset_s: of the machine's own clock at that instant. zone: a name that takes its place, "Europe/Berlin".
    """
    instant = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    if zone is not None:
        return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if utc_offset_s is None:
        return None
    return (instant + datetime.timedelta(seconds=utc_offset_s)).replace(tzinfo=None)


def check_zone(zone: str | None) -> str | None:
    """A zone that this machine knows, or None.

    Raises:
        ValueError: it does not.
    """
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"time zone {zone!r} is not known here; expected is a name such as Europe/Berlin"
            ) from error
    return zone
