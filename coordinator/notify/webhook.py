"""Send one signed POST: to an address that was looked at, without redirects, with an end to everything.

    webhook-id: msg_..            the same at every attempt
    webhook-timestamp: 1700000000 of this attempt
    webhook-signature: v1,BASE64  HMAC-SHA256 of "id.timestamp.body" with the secret

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from threading import Timer
from urllib.parse import urlsplit

from barnraise import __version__
from barnraise.errors import ConfigValueError, UnreachableError
from barnraise.notify_config import WebhookConfig
from coordinator.notify.addresses import choose_address
from coordinator.notify.messages import Message
from coordinator.notify.outbox import Answer

__all__ = ["post", "read_secret_text", "sign", "signed_headers"]

DEADLINE_S = 15.0
CONNECT_S = 5.0
ANSWER_BYTES_MAX = 4096
PREFIX = "whsec_"
Resolve = Callable[[str, int], list[str]]


def read_secret_text(text: str, where: str) -> bytes:
    """The key in a secret as Standard Webhooks writes it.

    Raises:
        ConfigValueError: it is none, or of a wrong length.
    """
    refusal = f"{where} has no secret of the form {PREFIX}BASE64 with 24 to 64 bytes; make one: barnraise notify secret"
    try:
        key = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigValueError(refusal) from error
    if not text.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ConfigValueError(refusal)
    return key


def sign(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The signature of one attempt."""
    signed = f"{message_id}.{timestamp_s}.".encode("ascii") + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")


def signed_headers(key: bytes, message: Message, timestamp_s: int) -> dict[str, str]:
    """All headers but ``Host``."""
    return {
        "content-type": "application/json",
        "user-agent": f"barnraise/{__version__}",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(key, message.message_id, timestamp_s, message.body),
    }


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name; [] when there is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def post(config: WebhookConfig, key: bytes, message: Message, timestamp_s: int, resolve: Resolve = resolve) -> Answer:
    """One attempt. Whatever goes wrong is an answer with its reason."""
    parts = urlsplit(config.url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        address = choose_address(resolve(host, port), allow_private=config.allow_private)
    except UnreachableError as error:
        return Answer(False, str(error))
    connection = _Pinned(host, port, address, secure=parts.scheme == "https")
    timer = Timer(DEADLINE_S, connection.abort)
    timer.daemon = True
    timer.start()
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection.request("POST", target, body=message.body, headers=signed_headers(key, message, timestamp_s))
        answer = connection.getresponse()
        answer.read(ANSWER_BYTES_MAX)
        return _answer(answer.status, answer.getheader("retry-after") or "")
    except (OSError, http.client.HTTPException) as error:
        if connection.aborted or isinstance(error, TimeoutError):  # both wait as long: either may be first
            return Answer(False, "no whole answer in time")
        return Answer(False, f"no answer: {_words(error)}")
    finally:
        timer.cancel()
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to ``address``, which the host's certificate must be for."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool) -> None:
        super().__init__(host, port, timeout=CONNECT_S)
        self._address = address
        self._secure = secure
        self.aborted = False

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), timeout=CONNECT_S)
        self.sock = plain
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
        self.sock.settimeout(DEADLINE_S)

    def abort(self) -> None:
        """End it from another thread, in the middle of whatever it does."""
        self.aborted = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _answer(status: int, retry_after: str) -> Answer:
    """What a status says; nothing that the target wrote gets into a reason."""
    wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 7 else None
    if 200 <= status < 300:
        return Answer(True, f"answered {status}", status)
    if 300 <= status < 400:
        return Answer(False, f"answered {status}; redirects are not followed, put the final url", status)
    return Answer(False, f"answered {status}", status, wait_s)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
