"""Where a node's coordinator is, and for how long it has been silent.

One value for all who talk to it: whoever asks says how that went, whoever finds it elsewhere moves it. Asked and told
from several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Whereabouts"]


class Whereabouts:
    """A coordinator's base URL, as far as is known.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, url: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock_s = url, clock_s
        self._silent_since_s: float | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        with self._lock:
            return self._url

    @property
    def silent_s(self) -> float:
        """How long it has been asked in vain; 0 when it answered last."""
        with self._lock:
            return 0.0 if self._silent_since_s is None else self._clock_s() - self._silent_since_s

    def heard(self) -> None:
        """It has answered."""
        with self._lock:
            self._silent_since_s = None

    def missed(self) -> None:
        """It was asked and did not answer."""
        with self._lock:
            if self._silent_since_s is None:
                self._silent_since_s = self._clock_s()

    def move(self, url: str) -> None:
        """It is there from now on."""
        with self._lock:
            self._url, self._silent_since_s = url, None
