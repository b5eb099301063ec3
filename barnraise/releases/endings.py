"""When what maintainers signed ends to hold, and from when on that is said: one rule, and its numbers.

The online key renews what it signs by itself. Root, targets and the list of promoted releases hold for a
year and need people, who may be away; once one of them has ended, nobody can pull any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

__all__ = ["CONSUMERS_TOLD", "MAINTAINERS_TOLD", "ending", "ending_in_words"]

MAINTAINERS_TOLD = timedelta(days=60)
"""So long before the end ``keys show`` and the conductor's log begin to say it."""

CONSUMERS_TOLD = timedelta(days=14)
"""So long before the end everybody who reads the lists is told; somebody may know the maintainers."""


def ending(expires: Mapping[str, datetime], now: datetime, within: timedelta) -> dict[str, datetime]:
    """Of roles and when they expire, those that end within a time, or have ended."""
    return {role: at for role, at in expires.items() if at - now < within}


def ending_in_words(expires: Mapping[str, datetime], now: datetime, within: timedelta) -> str | None:
    """Half a sentence about what ends first; None where nothing does within that time."""
    found = ending(expires, now, within)
    if not found:
        return None
    first = min(found.values())
    days = (first - now).days
    roles = ", ".join(sorted(role for role, at in found.items() if at == first))
    what = f"what maintainers signed ({roles})"
    if first <= now:
        return f"{what} ended to hold on {first:%Y-%m-%d}"
    return f"{what} holds until {first:%Y-%m-%d}, {days} day{'' if days == 1 else 's'} from now"
