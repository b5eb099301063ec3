"""A static file server on a real socket, with or without ranges, that can cut connections.

Only for tests under e2e/.
"""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Static", "serving"]


@dataclass
class Static:
    """What a server does and did.

    Attributes:
        cut_after: gets a path; after how many bytes of the body to cut the connection, None for never.
        hold: gets a path; called before each piece of a body. piece: bytes of each.
        requests: (path, Range header). sent: bytes of bodies, by path.
    """

    url: str = ""
    ranges: bool = True
    cut_after: Callable[[str], int | None] = lambda path: None
    hold: Callable[[str], None] = lambda path: None
    piece: int = 64 << 10
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, root: Path, static: Static) -> None:
        self.root, self.static = root, static
        with static.lock:
            static.connections += 1
        super().__init__(*args)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        with self.static.lock:
            self.static.requests.append((self.path, wanted))
        file = self.root / self.path.lstrip("/")
        if ".." in self.path or not file.is_file():
            self.send_error(404)
            return
        size = file.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted) if self.static.ranges else None
        start, stop = (int(match[1]), min(size, int(match[2] or size) + 1)) if match else (0, size)
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(stop - start))
        if match:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        self._send(file, start, stop)

    def _send(self, file: Path, start: int, stop: int) -> None:
        left = self.static.cut_after(self.path)
        with file.open("rb") as reader:
            reader.seek(start)
            while start < stop:
                self.static.hold(self.path)
                piece = reader.read(min(self.static.piece, stop - start, self.static.piece if left is None else left))
                if not piece:  # cut here
                    self.close_connection = True
                    return
                try:
                    self.wfile.write(piece)
                except OSError:  # the client has enough
                    self.close_connection = True
                    return
                start += len(piece)
                left = None if left is None else left - len(piece)
                with self.static.lock:
                    self.static.sent[self.path] = self.static.sent.get(self.path, 0) + len(piece)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(root: Path, **settings: Any) -> Iterator[Static]:
    """Serve a folder on a port that the system chooses."""
    static = Static(**settings)
    handler = functools.partial(_Handler, root=root, static=static)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        static.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield static
        finally:
            server.shutdown()
            thread.join()
