"""Failures of a connection in words."""

from __future__ import annotations

import socket
import ssl

import pytest
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from barnraise.unreachable import why_unreachable


def said(error: HTTPError) -> str:
    return why_unreachable(error, connect_s=5.0, read_s=60.0)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "no connection (Connection refused)"),
        (OSError(113, "No route to host"), "no connection (No route to host)"),
        (None, "no connection"),
    ],
)
def test_a_failed_connection_says_why(cause: OSError | None, words: str) -> None:
    error = NewConnectionError(HTTPConnection("10.0.0.1"), "urllib3's own words")
    error.__cause__ = cause
    assert said(error) == words


def test_other_failures_say_why() -> None:
    pool = HTTPConnectionPool("10.0.0.1")
    assert said(ConnectTimeoutError("late")) == "no connection within 5 s"
    assert said(ReadTimeoutError(pool, "/", "late")) == "no answer within 60 s"
    assert said(NameResolutionError("x", HTTPConnection("x"), socket.gaierror())) == "its name cannot be resolved"
    assert said(ProtocolError("cut")) == "the connection broke (ProtocolError)"


def test_a_certificate_and_a_proxy_are_named() -> None:
    bad = ssl.SSLCertVerificationError(1, "codes")
    bad.verify_message = "certificate has expired"
    assert said(SSLError(bad)) == "no secure connection (certificate has expired)"
    assert said(SSLError(ssl.SSLError(1, "wrong version number"))).startswith("no secure connection (")
    refused = ProxyError("no tunnel", OSError("Tunnel connection failed: 407 Proxy Authentication Required"))
    assert "407" in said(refused)


def test_a_failure_after_retries_is_the_failure_itself() -> None:
    pool = HTTPConnectionPool("10.0.0.1")
    assert said(MaxRetryError(pool, "/", ConnectTimeoutError("late"))) == "no connection within 5 s"
