"""Why a request over HTTP failed, for somebody who does not know urllib3."""

from __future__ import annotations

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HttpTimeoutError

__all__ = ["why_unreachable"]


def why_unreachable(error: HTTPError, *, connect_s: float, read_s: float) -> str:
    """What went wrong, in a few words.

    Args:
        connect_s, read_s: the time-outs that were set, in seconds.
    """
    match error:
        case MaxRetryError() if isinstance(error.reason, HTTPError):
            return why_unreachable(error.reason, connect_s=connect_s, read_s=read_s)
        case NameResolutionError():
            return "its name cannot be resolved"
        case NewConnectionError():  # before its base class, the time-out
            cause = error.__cause__
            detail = cause.strerror if isinstance(cause, OSError) else None
            return f"no connection ({detail})" if detail else "no connection"
        case ProxyError():
            return f"the proxy does not let it through ({error.original_error})"
        case SSLError():
            return f"no secure connection ({_certificate(error)})"
        case ConnectTimeoutError():
            return f"no connection within {connect_s:.0f} s"
        case HttpTimeoutError():
            return f"no answer within {read_s:.0f} s"
        case _:
            return f"the connection broke ({type(error).__name__})"


def _certificate(error: SSLError) -> str:
    """What the TLS library said, without its codes."""
    cause: object = error.args[0] if error.args else error
    return getattr(cause, "verify_message", "") or getattr(cause, "reason", None) or str(cause)[:200]
