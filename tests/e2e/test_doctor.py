"""The doctor's eyes on real sockets: what it sees of ports, certificates, pages, proxies and a gateway."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from barnraise.cli import run
from contributor.doctor.finding import main_cause
from contributor.doctor.network import NetworkFacts, judge_network, run_said
from contributor.doctor.observe_machine import observe_folder
from contributor.doctor.observe_network import ask, observe_network

RUN = {"protocol": 1, "name": "toy", "coordinator_key": "ab" * 32}
HERE = ip_address("127.0.0.1")


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server's ``answers`` say: path -> (status, type, body); "*" for all others."""

    def do_GET(self) -> None:
        answers: dict[str, tuple[int, str, bytes]] = self.server.answers  # type: ignore[attr-defined]
        status, kind, body = answers.get(self.path, answers["*"])
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    do_CONNECT = do_GET

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(answers: dict[str, tuple[int, str, bytes]], certificate: Path | None = None) -> Iterator[int]:
    """A server on a port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.answers = answers  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken handshakes are what is tested
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path, *, host: str = "", days: tuple[int, int] = (-1, 1)) -> Path:
    """A self-signed certificate with its key, for this machine or ``host``, valid between two days from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    names = [x509.DNSName(host)] if host else [x509.IPAddress(HERE)]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{host or 'here'}-{days[0]}-{days[1]}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cause(facts: NetworkFacts) -> str:
    main = main_cause(judge_network(facts))
    return main.cause if main is not None else ""


@pytest.fixture
def answers() -> dict[str, tuple[int, str, bytes]]:
    return {
        "/v1/run": (200, "application/json", json.dumps(RUN).encode()),
        "*": (404, "text/html", b"<html>not here</html>"),
    }


def test_a_port_where_nothing_listens() -> None:
    assert cause(observe_network(f"http://127.0.0.1:{free_port()}", {})) == "port-refused"


def test_a_name_that_cannot_be() -> None:
    assert cause(observe_network("http://no-such-host.invalid", {})) in {"name-unknown", "no-network"}


def test_a_coordinator_and_the_paths_below_it(answers: dict[str, tuple[int, str, bytes]]) -> None:
    with serving(answers) as port:
        facts = observe_network(f"http://127.0.0.1:{port}", {})
        assert (cause(facts), run_said(facts)) == ("", RUN)
        assert facts.run is not None
        assert facts.run.date_ms is not None
        assert abs(facts.now_ms - facts.run.date_ms) < 60_000
        assert cause(observe_network(f"http://127.0.0.1:{port}/runs/toy", {})) == "wrong-path"
        assert cause(observe_network(f"https://127.0.0.1:{port}", {})) == "not-https"
        assert ask(f"http://127.0.0.1:{port}", "/v1/discard", {}, bytes(1000)).status == 404


def test_a_portal_and_a_site() -> None:
    page = (200, "text/html", b"<!DOCTYPE html><title>Log in</title>")
    with serving({"*": page}) as port:
        assert cause(observe_network(f"http://127.0.0.1:{port}", {})) == "captive-portal"
    with serving({"/v1/run": page, "*": (404, "text/plain", b"")}) as port:
        assert cause(observe_network(f"http://127.0.0.1:{port}", {})) == "wrong-path"
    with serving({"*": (502, "text/html", b"Bad gateway")}) as port:
        assert cause(observe_network(f"http://127.0.0.1:{port}", {})) == "coordinator-down"


@pytest.mark.parametrize(
    ("made", "trusted", "found"),
    [
        ({}, True, ""),
        ({}, False, "certificate-authority"),
        ({"host": "elsewhere.test"}, True, "certificate-name"),
        ({"days": (-9, -2)}, True, "certificate-expired"),
        ({"days": (2, 9)}, True, "clock-off"),
    ],
)
def test_certificates(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, tuple[int, str, bytes]],
    made: dict[str, Any],
    trusted: bool,
    found: str,
) -> None:
    path = certificate(tmp_path, **made)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with serving(answers, path) as port:
        facts = observe_network(f"https://127.0.0.1:{port}", {})
    assert cause(facts) == found
    assert facts.tls is not None
    assert facts.tls.names == (made.get("host", "127.0.0.1"),)


def test_a_proxy_that_wants_a_password_and_one_that_is_gone() -> None:
    with serving({"*": (407, "text/html", b"<html>who are you</html>")}) as port:
        environment = {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "HTTP_PROXY": f"http://127.0.0.1:{port}"}
        assert cause(observe_network("https://run.invalid", environment)) == "proxy-password"
        assert cause(observe_network("http://run.invalid", environment)) == "proxy-password"
    gone = {"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}"}
    assert cause(observe_network("https://run.invalid", gone)) == "proxy-down"


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    good = observe_folder(tmp_path / "not" / "there" / "yet")
    assert (good.error, good.free_bytes > 0, list(tmp_path.iterdir())) == ("", True, [])
    assert observe_folder(Path("/proc/barnraise")).error


def test_the_command_says_the_main_cause_and_returns_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    url = f"http://127.0.0.1:{free_port()}"
    assert run(["doctor", url, "--json"]) == 17
    told = json.loads(capsys.readouterr().out)["result"]
    assert (told["can_join"], told["main_cause"], told["url"]) == (False, "port-refused", url)
    assert run(["doctor", url]) == 17
    shown = capsys.readouterr().out
    assert "this machine cannot join: connection: 127.0.0.1 is there" in shown
    assert max(len(line) for line in shown.splitlines() if str(tmp_path) not in line) <= 80
    assert list(tmp_path.iterdir()) == []


def test_what_to_do_next_means_the_same_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", "--home", "my node", "--key", "ada.key"]) == 0
    assert capsys.readouterr().out.endswith("now: barnraise doctor URL --home 'my node' --key ada.key\n")
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("now: barnraise doctor URL\n")
