"""Look at the way to a coordinator, with short time-outs. Nothing here decides.

Requests are made as a node makes them, through the same proxies; names, connections and certificates are looked at
beside that, because a failed request does not say enough.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, ProxyError, SSLError

from barnraise.clock import now_ms
from barnraise.proxies import connections, proxy_for, without_password
from barnraise.unreachable import why_unreachable
from contributor.doctor.network import AnswerFacts, ConnectFacts, NetworkFacts, Trouble, run_said
from contributor.doctor.tls import Problem, TlsFacts

__all__ = ["ask", "observe_network"]

CONNECT_S, READ_S = 5.0, 10.0
ADDRESSES_MAX = 4
BODY_MAX_BYTES = 256 << 10
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_VERIFY: dict[int, Problem] = {62: "name", 64: "name", 10: "expired", 9: "not-yet"}
_VERIFY |= dict.fromkeys((2, 18, 19, 20, 21), "unknown-authority")
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)


def observe_network(url: str, environment: Mapping[str, str] = os.environ) -> NetworkFacts:
    """What is seen on the way to a coordinator's URL."""
    proxy = proxy_for(url, environment)
    facts = NetworkFacts(
        url=url,
        proxy=without_password(proxy) if proxy is not None else None,
        proxy_variables={
            name: without_password(value) if "://" in value else value
            for name, value in environment.items()
            if name.lower() in PROXY_VARIABLES and value
        },
        now_ms=now_ms(),
    )
    target = urlsplit(proxy or url)
    port = target.port or (443 if target.scheme == "https" else 80)
    addresses, name_error = _resolved(target.hostname or "", port)
    facts = replace(facts, addresses=addresses, name_error=name_error)
    if name_error:
        return facts
    facts = replace(facts, connects=_connected(addresses, port), v6_works=_v6_works())
    good = next((attempt for attempt in facts.connects if not attempt.trouble), None)
    if good is None:
        return facts
    if proxy is None and target.scheme == "https":
        facts = replace(facts, tls=_handshake(good.address, port, facts.host))
        if facts.tls is not None and facts.tls.problem:
            return facts
    return _asked(facts, environment)


def ask(url: str, path: str, environment: Mapping[str, str] = os.environ, body: bytes | None = None) -> AnswerFacts:
    """One request as a node makes it; a GET without a body, else a POST."""
    pool = connections(
        url,
        environment,
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        headers={"Accept-Encoding": "identity", "User-Agent": "barnraise"},
    )
    began = time.perf_counter()
    try:
        response = pool.request(
            "GET" if body is None else "POST",
            url.rstrip("/") + path,
            body=body,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        data = response.read(BODY_MAX_BYTES)
        response.close()
    except HTTPError as error:
        said = why_unreachable(error, connect_s=CONNECT_S, read_s=READ_S)
        return AnswerFacts(path, _trouble(error), said, took_s=time.perf_counter() - began)
    finally:
        pool.clear()
    return AnswerFacts(
        path=path,
        trouble="",
        status=response.status,
        content_type=response.headers.get("content-type", "").lower()[:100],
        location=response.headers.get("location", "")[:500],
        date_ms=_date(response.headers.get("date", "")),
        body=data,
        took_s=time.perf_counter() - began,
    )


def _asked(facts: NetworkFacts, environment: Mapping[str, str]) -> NetworkFacts:
    """Ask for the run; where something else answers, ask a little more to find out what."""
    answer = ask(facts.url, "/v1/run", environment)
    facts = replace(facts, run=answer, now_ms=now_ms())
    if answer.trouble or run_said(facts) is not None:
        return facts
    parts = urlsplit(facts.url)
    if parts.path.strip("/"):
        root = f"{parts.scheme}://{parts.netloc}"
        facts = replace(facts, at_root=ask(root, "/v1/run", environment))
    if answer.status == 200:
        facts = replace(facts, nonsense=ask(facts.url, f"/{secrets.token_hex(8)}", environment))
    return facts


def _trouble(error: HTTPError) -> Trouble:
    reason = error.reason if isinstance(error, MaxRetryError) else error
    if isinstance(reason, ProxyError):
        return "proxy"
    return "tls" if isinstance(reason, SSLError) else "broken"


def _resolved(host: str, port: int) -> tuple[tuple[str, ...], Any]:
    """The addresses of a host. The system's resolver has no time-out, so it is given one."""
    found: list[Any] = []

    def look() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(READ_S)
    if not found:
        return (), "resolver-silent"
    if isinstance(found[0], socket.gaierror):
        code = found[0].errno
        if code == socket.EAI_AGAIN:
            return (), "resolver-silent"
        return (), "no-address" if code == getattr(socket, "EAI_NODATA", None) else "unknown"
    if isinstance(found[0], Exception):
        return (), "unknown"
    return tuple(dict.fromkeys(row[4][0] for row in found[0])), ""


def _connected(addresses: tuple[str, ...], port: int) -> tuple[ConnectFacts, ...]:
    """Try addresses until one takes the connection."""
    tried: list[ConnectFacts] = []
    for address in addresses[:ADDRESSES_MAX]:
        began = time.perf_counter()
        try:
            socket.create_connection((address, port), timeout=CONNECT_S).close()
        except OSError as error:
            tried.append(ConnectFacts(address, _why(error), error.strerror or str(error)))
        else:
            return (*tried, ConnectFacts(address, "", took_s=time.perf_counter() - began))
    return tuple(tried)


def _why(error: OSError) -> Trouble:
    if isinstance(error, TimeoutError):
        return "silent"
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    return "no-route" if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL} else "silent"


def _v6_works() -> bool:
    """Whether this machine has a way to IPv6 addresses; nothing is sent to find out."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 9))
    except OSError:
        return False
    return True


def _handshake(address: str, port: int, host: str) -> TlsFacts:
    ca_file = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or ""
    problem: Problem = ""
    said = ""
    try:
        with (
            socket.create_connection((address, port), timeout=CONNECT_S) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        problem, said = _VERIFY.get(error.verify_code, "other"), error.verify_message
    except ssl.SSLError as error:
        problem, said = ("not-tls" if error.reason in _NOT_TLS else "other"), error.reason or str(error)
    except OSError as error:
        problem, said = "other", error.strerror or str(error)
    facts = TlsFacts(problem, said, ca_file=ca_file)
    return facts if problem == "not-tls" else _with_certificate(facts, address, port, host)


def _with_certificate(facts: TlsFacts, address: str, port: int, host: str) -> TlsFacts:
    """Who the certificate is for and until when, whether it is good or not; nothing is sent over this connection."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), timeout=CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            certificate = x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return facts
    return replace(
        facts,
        names=_names(certificate),
        not_before_ms=int(certificate.not_valid_before_utc.timestamp() * 1000),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
    )


def _names(certificate: Any) -> tuple[str, ...]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(str(name.value)[:100] for name in extension.value)


def _date(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1000)
    except (TypeError, ValueError):
        return None
