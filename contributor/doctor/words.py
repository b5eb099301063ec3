"""Sizes and times as the doctor says them."""

from __future__ import annotations

__all__ = ["mib", "span"]


def mib(size_bytes: int) -> str:
    """A size as people say it."""
    if size_bytes >= 10 << 30:
        return f"{size_bytes / (1 << 30):,.0f} GiB"
    if size_bytes >= 1 << 30:
        return f"{size_bytes / (1 << 30):,.1f} GiB"
    if size_bytes >= 1 << 20:
        return f"{size_bytes / (1 << 20):,.0f} MiB"
    return f"{size_bytes / 1024:,.0f} KiB"


def span(seconds: float) -> str:
    """A time as people say it."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
