"""Judge the TLS of a coordinator: is the certificate for this host, of a known authority, and valid now.

Blame the right thing: a certificate that is "not valid yet" is a clock that is behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, assert_never
from urllib.parse import urlsplit

from contributor.doctor.finding import Finding, fail, ok, skipped, warn

__all__ = ["Problem", "TlsFacts", "judge_tls"]

Problem = Literal["", "name", "expired", "not-yet", "unknown-authority", "not-tls", "other"]


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """A TLS handshake.

    Attributes:
        problem: "" when the certificate was accepted.
        names: that the certificate is for. not_before_ms, not_after_ms: between which it is valid.
        ca_file: SSL_CERT_FILE or SSL_CERT_DIR, where set.
    """

    problem: Problem
    said: str = ""
    names: tuple[str, ...] = ()
    not_before_ms: int | None = None
    not_after_ms: int | None = None
    ca_file: str = ""


def judge_tls(url: str, tls: TlsFacts | None, now_ms: int) -> Finding:
    """What a handshake says.

    Args:
        tls: None where the URL is http, or a proxy's connection has been used.
        now_ms: this machine's clock.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        return _without(parts.hostname or "")
    if tls is None:
        return skipped("tls", "done by the proxy's connection")
    if not tls.problem:
        left = "" if tls.not_after_ms is None else f", for {(tls.not_after_ms - now_ms) / 86_400_000:.0f} days"
        return ok("tls", f"the certificate is for {parts.hostname}{left}")
    found, cause, cure = _wrong(url, tls, now_ms)
    return fail("tls", found, cause=cause, cure=cure)


def _without(host: str) -> Finding:
    if host in {"localhost", "127.0.0.1", "::1"}:
        return ok("tls", "not used; the coordinator is on this machine")
    return warn(
        "tls",
        "not used: who is on the way can read what you send, though not alter updates or releases",
        cause="no-tls",
        cure="ask the operator for an https URL",
    )


def _wrong(url: str, tls: TlsFacts, now_ms: int) -> tuple[str, str, str]:
    """What was found, its cause and its cure."""
    host, set_clock = urlsplit(url).hostname, "sudo timedatectl set-ntp true"
    match tls.problem:
        case "name":
            names = ", ".join(tls.names[:4]) or "no name at all"
            found, cause = f"the certificate is for {names}, not for {host}", "certificate-name"
            cure = "use one of these names in the URL, or ask the operator"
        case "not-yet":
            begins, cause = _date(tls.not_before_ms), "clock-off"
            clock = f"this machine's clock says {_date(now_ms)}: the clock is behind"
            found, cure = f"the certificate begins to hold at {begins}, and {clock}", f"set the clock: {set_clock}"
        case "expired":
            found = f"the certificate has expired on {_date(tls.not_after_ms)} (this clock: {_date(now_ms)})"
            cause = "certificate-expired"
            cure = f"if that clock is right, the operator must renew it; else set it: {set_clock}"
        case "unknown-authority":
            used, cause = f" (SSL_CERT_FILE is {tls.ca_file})" if tls.ca_file else "", "certificate-authority"
            found = f"nobody whom this machine trusts has signed the certificate of {host}{used}"
            cure = "with an authority of your own: SSL_CERT_FILE=ca.pem barnraise join ...; else ask the operator; "
            cure += "somebody may be in between"
        case "not-tls":
            found, cause = f"what listens at {urlsplit(url).netloc} does not speak TLS", "not-https"
            cure = f"the URL may be {url.replace('https://', 'http://', 1)}"
        case "other" | "":
            found, cause, cure = f"no TLS connection: {tls.said}", "tls", "ask the operator"
        case _ as never:
            assert_never(never)
    return found, cause, cure


def _date(at_ms: int | None) -> str:
    return "unknown" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
