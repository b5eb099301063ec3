"""When to ask a silent coordinator again: exponential back-off with equal jitter, decided purely.

Half of every pause is fixed and half is random, so a thousand contributors that lose the
same coordinator at the same moment do not come back at the same moment.

Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from barnraise.doubling import doubled_s
from barnraise.errors import NetworkError, RefusedError

__all__ = ["CAP_S", "FIRST_S", "Pause", "after_failure", "worth_repeating"]

FIRST_S = 0.5
CAP_S = 30.0
_TRY_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait, and why in one sentence."""

    delay_s: float
    reason: str


def worth_repeating(error: NetworkError) -> bool:
    """Whether the same request may succeed later: no answer, an overload, or a fault at the other end."""
    if isinstance(error, RefusedError):
        return error.status >= 500 or error.status in _TRY_LATER
    return True


def after_failure(failures: int, error: NetworkError, url: str, jitter: float) -> Pause:
    """The pause after ``failures`` failures in a row.

    Args:
        failures: at least 1.
        error: the last failure; its reason is passed on.
        url: base URL of the coordinator.
        jitter: random in [0, 1).
    """
    ceiling_s = doubled_s(failures, first_s=FIRST_S, longest_s=CAP_S)
    delay_s = ceiling_s * (0.5 + 0.5 * jitter)
    host = urlsplit(url).netloc
    return Pause(
        delay_s,
        f"waiting for {host}: {error}; trying again in {delay_s:.1f} s. Find out why: barnraise doctor {url}",
    )
