"""Who is signed in: sessions that the token begins, in the memory of the gateway.

A session ends twelve hours after it began, an hour after it was last used, when its owner signs out, when
another token is made, and when the gateway is started again. Of its secret only a digest is kept here.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

from barnraise.digest import digest_bytes

__all__ = ["GUESSES", "HOLDS_MS", "IDLE_MS", "Refused", "Session", "Sessions"]

HOLDS_MS = 12 * 3_600_000
IDLE_MS = 3_600_000
GUESSES, GUESSES_MS = 5, 60_000
SESSIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Attributes:
        digest: of the secret in the cookie. token: digest of the token that began it.
        form: what every form of this session has to bring along.
    """

    digest: str
    token: str
    form: str
    begun_ms: int
    seen_ms: int

    @property
    def label(self) -> str:
        """How it is called in the log."""
        return self.digest[3:11]

    def ended(self, now_ms: int, token: str | None) -> str:
        """Why it holds no longer; "" while it does."""
        if token != self.token:
            return "another token was made"
        if now_ms - self.begun_ms >= HOLDS_MS:
            return f"it began {HOLDS_MS // 3_600_000} hours ago"
        if now_ms - self.seen_ms >= IDLE_MS:
            return f"it was not used for {IDLE_MS // 60_000} minutes"
        return ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody is signed in, and why."""

    reason: str
    retry_after_s: int | None = None


class Sessions:
    """The sessions of one gateway.

    Args:
        token: reads the token; None where none was made.
        draw: a new secret.
    """

    def __init__(
        self,
        token: Callable[[], str | None],
        now_ms: Callable[[], int],
        draw: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._token = token
        self._now_ms = now_ms
        self._draw = draw
        self._open: dict[str, Session] = {}
        self._missed_ms: deque[int] = deque(maxlen=GUESSES)
        self._lock = Lock()

    def sign_in(self, offered: str) -> tuple[str, Session] | Refused:
        """Begin a session; its secret goes into a cookie and nowhere else."""
        now_ms = self._now_ms()
        with self._lock:
            if (wait_s := self._wait_s(now_ms)) > 0:
                return Refused(f"{GUESSES} wrong tokens came within a minute; try again in {wait_s} s", wait_s)
            token = self._token()
            if token is None:
                return Refused("this run has no token yet; make one with: barnraise operator token --run RUN")
            if not hmac.compare_digest(token.encode(), offered.strip().encode("utf-8", "replace")):
                self._missed_ms.append(now_ms)
                return Refused("that is not the token of this run; see it with: barnraise operator token --run RUN")
            secret = self._draw()
            session = Session(_digest(secret), _digest(token), self._draw(), now_ms, now_ms)
            self._make_room()
            self._open[session.digest] = session
            return secret, session

    def of(self, secret: str | None) -> Session | Refused:
        """The session of a cookie, which is used by that."""
        if not secret:
            return Refused("you are not signed in")
        now_ms, token = self._now_ms(), self._token()
        with self._lock:
            session = self._open.get(_digest(secret))
            if session is None:
                return Refused("your session is not known here: it ended, or the gateway was started again")
            if why := session.ended(now_ms, _digest(token) if token is not None else None):
                del self._open[session.digest]
                return Refused(f"your session has ended: {why}")
            self._open[session.digest] = replace(session, seen_ms=now_ms)
            return session

    def sign_out(self, session: Session) -> None:
        with self._lock:
            self._open.pop(session.digest, None)

    def _wait_s(self, now_ms: int) -> int:
        if len(self._missed_ms) < GUESSES:
            return 0
        return -(-(self._missed_ms[0] + GUESSES_MS - now_ms) // 1000)

    def _make_room(self) -> None:
        """The session that was not used for the longest time goes when there are too many."""
        while len(self._open) >= SESSIONS_MAX:
            del self._open[min(self._open.values(), key=lambda one: one.seen_ms).digest]


def _digest(secret: str) -> str:
    return digest_bytes(secret.encode("utf-8", "replace"))
