"""``python -m coordinator.gateway --run DIR``: the gateway's process, started by ``barnraise serve``.

Where it listens is written to ``address.json`` once connections are taken. With ``port = 0`` it
takes the port that it had before, if that is free, so that contributors find it again after a crash.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from barnraise.config import GatewayConfig
from barnraise.errors import ConfigValueError, PortInUseError
from barnraise.releases.durable import replace_file
from barnraise.run_folder import RunFolder
from coordinator.gateway.app import create_app
from coordinator.gateway.deadlines import patient_protocol
from coordinator.gateway.state import GatewayState
from coordinator.run_process import run_process
from coordinator.vitals import write_status

__all__ = ["listen", "main", "scrape_targets"]

BACKLOG = 512
MAX_CONNECTIONS = 512
MAX_HEADER_BYTES = 16 * 1024
GRACE_S = 5


def main() -> int:
    """Serve until SIGTERM; the exit code is the error family's."""
    return run_process("coordinator.gateway", _serve)


def _serve(folder: RunFolder) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn ends first, then raises the signal again
    state = GatewayState.open(folder)
    folder.create()
    app = create_app(state)
    server = uvicorn.Server(_uvicorn_config(app, state.config.gateway))
    app.state.site.tail.stopping = lambda: server.should_exit  # or streams would hold the end up
    with listen(state.config.gateway, _port_before(folder)) as door:
        host, port = door.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        replace_file(_port_file(folder), f"{port}\n".encode("ascii"))
        replace_file(folder.address, json.dumps({"url": url, "pid": os.getpid()}).encode("ascii"))
        write_status(folder.status / "gateway-targets.json", scrape_targets(host, port, state.config.name))
        logging.getLogger("barnraise.gateway").info("listening at %s", url)
        try:
            server.run(sockets=[door])
        finally:
            _withdraw(folder.address)
            state.ledger.close()


def listen(config: GatewayConfig, port_before: int) -> socket.socket:
    """A listening socket at the configured address.

    Args:
        port_before: tried first when the configured port is 0; 0 when there is none.

    Raises:
        PortInUseError: another process listens there.
        ConfigValueError: this machine has no such address, or may not use the port.
    """
    if config.port == 0 and port_before:
        with suppress(PortInUseError):
            return _bound(config.host, port_before)
    return _bound(config.host, config.port)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigValueError(f"gateway.host {host!r} is no address of this machine: {error.strerror}") from error
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(BACKLOG)
    except OSError as error:
        door.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} of {host} is taken by another process. Stop it, or set gateway.port to another (0: any)."
            ) from error
        raise ConfigValueError(f"gateway.host {host!r}, port {port}: {error.strerror}; choose another") from error
    return door


def _uvicorn_config(app: FastAPI, config: GatewayConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=patient_protocol(config),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=GRACE_S,
    )


def scrape_targets(host: str, port: int, run: str) -> list[dict[str, Any]]:
    """Where Prometheus on this machine finds ``/metrics``, in the form in which it discovers targets from files."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # not bound here: told
    return [{"targets": [f"[{near}]:{port}" if ":" in near else f"{near}:{port}"], "labels": {"run": run}}]


def _port_file(folder: RunFolder) -> Path:
    return folder.private / "port"


def _port_before(folder: RunFolder) -> int:
    try:
        text = _port_file(folder).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else 0


def _withdraw(address: Path) -> None:
    """Remove our own address, not one that a newer gateway has written."""
    with suppress(FileNotFoundError, ValueError):
        if json.loads(address.read_bytes()).get("pid") == os.getpid():
            address.unlink()


if __name__ == "__main__":
    sys.exit(main())
