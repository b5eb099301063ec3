"""A limit on bytes a second, shared by whoever gives them: a leaky bucket that holds one second's worth.

Source: Turner 1986, https://doi.org/10.1109/MCOM.1986.1092946
"""

from __future__ import annotations

__all__ = ["Rate"]


class Rate:
    """Says how long to wait before the next bytes go."""

    def __init__(self) -> None:
        self._bytes_per_s: float | None = None
        self._free_at_s = 0.0  # when all that was let through is paid for

    def limit(self, bytes_per_s: float | None) -> None:
        """From now on at most ``bytes_per_s``; None for no limit."""
        self._bytes_per_s = bytes_per_s

    def pause_s(self, count: int, now_s: float) -> float:
        """Take ``count`` bytes; how many seconds to wait before they may go.

        Args:
            now_s: of a clock that only goes forward.
        """
        if self._bytes_per_s is None:
            return 0.0
        begin_s = max(self._free_at_s, now_s - 1.0)
        self._free_at_s = begin_s + count / max(self._bytes_per_s, 1.0)
        return max(0.0, self._free_at_s - now_s)
