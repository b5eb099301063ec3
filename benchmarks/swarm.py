"""What do nodes that give each other blobs spare the gateway, and what do their sidecars cost?

    python benchmarks/swarm.py [--quick] [--write]

Eight nodes on this machine pull the same releases: the first whole (a keyframe), the next ones as
patches; all at the same moment, or one second after the other. Once from the gateway alone, once
with sidecars. The gateway is a static server of the release folder in a process of its own, which
counts what it sends; nodes pull as they always do, each with a cache of its own. Before each
release the nodes of both ways hold the same. ``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import argparse
import http.server
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from release_speed import NAME, Run, drawn_change, patch_of
from report import arguments, finish, heading
from sidecars import READY_S, cpu_s, memory_of, processes_of

from barnraise.config import bundled_config, load_run_config
from barnraise.message import BlobRef
from barnraise.releases.cache import Cache
from barnraise.releases.http_source import HttpSource
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import ReleaseSource
from barnraise.releases.trust import TrustOptions
from barnraise.swarm.process import Sidecar
from barnraise.updates import Update, apply_update
from barnraise.updates.space import model_digest
from contributor.swarm.peer_blobs import KEPT_BYTES, PeersFirst
from merge.architectures import build, flat_of, space_of

if TYPE_CHECKING:
    from _typeshed import SupportsRead, SupportsWrite

NODES = 8
MEET_S = 120.0  # for every node to be seen by all others
LOOK_S = 0.5
LARGE_BYTES = 100_000  # of a blob whose first byte is timed
IDLE_S = 10.0
ALLOWED_S = 86400.0


# -- the gateway ---------------------------------------------------------------------------


class Counting(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; counts bytes, and what it is told to forget."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    sent = 0

    def do_GET(self) -> None:
        if self.path == "/count":
            with Counting.lock:
                body, Counting.sent = json.dumps(Counting.sent).encode(), 0
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        super().do_GET()

    def copyfile(self, source: SupportsRead[Any], outputfile: SupportsWrite[Any]) -> None:
        while piece := source.read(1 << 16):
            outputfile.write(piece)
            with Counting.lock:
                Counting.sent += len(piece)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def serve(folder: str) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=folder))
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


@contextmanager
def gateway(folder: Path) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate()


def counted(url: str) -> int:
    """Bytes that the gateway sent since the last time."""
    return int(json.loads(urllib3.request("GET", f"{url}/count").data))


# -- nodes ---------------------------------------------------------------------------------


@dataclass
class Node:
    """A folder with a base and a cache, and perhaps a sidecar."""

    root: Path
    sidecar: Sidecar | None = None

    def pull(self, url: str, version: str) -> tuple[float, float]:
        """Seconds until it is installed, and until the first byte of a large blob."""
        began_s = time.perf_counter()
        source: ReleaseSource = HttpSource(url)
        kept = 0
        if self.sidecar is not None:
            source, kept = PeersFirst(source, self.sidecar), KEPT_BYTES
        came_s: list[float] = []

        def arrived(blob: BlobRef, _gained: int) -> None:
            if blob.size_bytes >= LARGE_BYTES:
                came_s.append(time.perf_counter() - began_s)

        options = PullOptions(
            TrustOptions(None, self.root / "trust"),
            cache=Cache(self.root / "cache", kept),
            watch=lambda _pulling: nullcontext(arrived),
        )
        pull(source, f"{NAME}@{version}", self.root / "base", options)
        took_s = time.perf_counter() - began_s
        return took_s, min(came_s, default=took_s)


def started(root: Path, count: int, stack: ExitStack) -> tuple[list[Node], float]:
    """Nodes with sidecars that know each other; and the seconds until one is ready, on average."""
    began_s = time.perf_counter()
    nodes: list[Node] = []
    bootstrap: list[str] = []
    for number in range(count):
        folder = root / str(number)
        folder.mkdir(parents=True)
        settings = {
            "host": {"bootstrap": bootstrap},
            "run": NAME,
            "blobs": {"store": str(folder / "cache"), "into": str(folder / "from-nodes")},
        }
        sidecar = Sidecar("peers", settings.copy, folder / "swarm.log", print)
        stack.callback(sidecar.stop)
        sidecar.start()
        assert sidecar.wait_ready(READY_S), sidecar.state
        assert sidecar.state.facts is not None
        bootstrap = bootstrap or list(sidecar.state.facts["addresses"])
        nodes.append(Node(folder, sidecar))
        sidecar.ask("limit", 30.0, up_bytes_per_s=None, down_bytes_per_s=None, paused=False, for_s=ALLOWED_S)
    ready_s = (time.perf_counter() - began_s) / count
    until_s = time.perf_counter() + MEET_S
    while any(told["nodes"] < count - 1 for told in told_by(nodes)):
        assert time.perf_counter() < until_s, told_by(nodes)
        time.sleep(LOOK_S)  # a sidecar says what it knows; nothing tells when that changes
    return nodes, ready_s


def told_by(nodes: list[Node]) -> list[dict[str, Any]]:
    """What their sidecars have counted."""
    return [node.sidecar.ask("blobs", 30.0) for node in nodes if node.sidecar is not None]


# -- measuring -----------------------------------------------------------------------------


@dataclass
class Measured:
    """One release, pulled by all nodes."""

    gateway_bytes: int
    took_s: list[float]
    first_s: list[float]


@dataclass
class Cost:
    """Of one sidecar with all that it starts."""

    uss_bytes: float
    pss_bytes: float
    idle_share: float
    processes: int


def pulled(nodes: list[Node], url: str, version: str, apart_s: float) -> Measured:
    counted(url)

    def one(number: int) -> tuple[float, float]:
        time.sleep(number * apart_s)  # which is what is asked: nodes that come one after the other
        return nodes[number].pull(url, version)

    with ThreadPoolExecutor(len(nodes)) as pool:
        took = list(pool.map(one, range(len(nodes))))
    return Measured(counted(url), [seconds for seconds, _ in took], [first for _, first in took])


def cost_of(nodes: list[Node]) -> Cost:
    sidecars = [node.sidecar for node in nodes if node.sidecar is not None]
    before = [cpu_s(sidecar) for sidecar in sidecars]
    time.sleep(IDLE_S)  # which is what is measured: how busy they are meanwhile
    idle_s = statistics.median(cpu_s(one) - was for one, was in zip(sidecars, before, strict=True))
    own, shared = zip(*map(memory_of, sidecars), strict=True)
    return Cost(statistics.median(own), statistics.median(shared), idle_s / IDLE_S, len(processes_of(sidecars[0])))


def releases(root: Path, patches: int) -> Run:
    """The shipped model, and patches as the shipped run makes them."""
    config = load_run_config(bundled_config("stdlib-lm"))
    module = build(config.model)
    space = space_of(module)
    run, flat_P = Run(root, config.model, space, []), flat_of(module, space)
    run.release(flat_P, None, None)
    for number in range(patches):
        base = model_digest(space, space.tensor_digests(flat_P))
        patch = patch_of(space, base, drawn_change(space, number), 256)
        before_P, flat_P = flat_P, apply_update(flat_P, Update.parse(patch, space, base_digest=base))
        run.release(flat_P, before_P, patch)
    return run


def rows(what: str, way: str, found: Measured, alone: Measured) -> str:
    spared = 1 - found.gateway_bytes / alone.gateway_bytes
    return (
        f"| {what} | {way} | {found.gateway_bytes:,} | {spared:.1%} | {statistics.median(found.first_s):.2f} "
        f"| {statistics.median(found.took_s):.2f} | {max(found.took_s):.2f} |"
    )


def main() -> None:
    parser = arguments(__doc__, quick="three nodes, one patch")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
        return
    count, patches = (3, 1) if chosen.quick else (NODES, 4)
    lines = heading(f"Blobs from {count} nodes instead of the gateway", "hivemind", "torch")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        run = releases(root / "run", patches)
        url = stack.enter_context(gateway(run.public))
        alone = [Node(root / "alone" / str(number)) for number in range(count)]
        peers, ready_s = started(root / "peers", count, stack)
        lines += _compared(run, url, alone, peers)
        lines += _costs(cost_of(peers), ready_s, peers)
        _same(alone + peers)
    finish("swarm", lines, write=chosen.write)


def _compared(run: Run, url: str, alone: list[Node], peers: list[Node]) -> list[str]:
    lines = [
        "| release | way | bytes of the gateway | spared | first byte, s (median) | installed, s (median) | last, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, entry in enumerate(run.entries):
        apart_s = 1.0 if number and number % 2 == 0 else 0.0
        blob = entry.patch or entry.keyframe
        assert blob is not None
        what = f"{entry.version}, {'patch' if entry.patch else 'whole'}, {blob.size_bytes:,} bytes, "
        what += "one after the other" if apart_s else "all at once"
        without = pulled(alone, url, entry.version, apart_s)
        withal = pulled(peers, url, entry.version, apart_s)
        lines += [rows(what, "gateway alone", without, without), rows(what, "nodes first", withal, without)]
        print("\n".join(lines[-2:]), file=sys.stderr)
    told = told_by(peers)
    from_peers, given = (sum(one[name] for one in told) for name in ("taken_bytes", "given_bytes"))
    retries = sum(one["retries"] for one in told)
    return [
        *lines,
        "",
        f"In all {from_peers:,} bytes came from nodes, who gave {given:,}; another one was asked {retries} times. "
        "Bytes of the gateway count everything: lists, metadata and blobs under 4 KiB always come from there.",
        "",
    ]


def _costs(cost: Cost, ready_s: float, peers: list[Node]) -> list[str]:
    return [
        f"A sidecar is {cost.processes} processes with {cost.uss_bytes / 2**20:.0f} MiB of their own "
        f"({cost.pss_bytes / 2**20:.0f} MiB with their part of what all {len(peers)} share), takes "
        f"{cost.idle_share:.1%} of a core when nothing is fetched, and was ready after {ready_s:.1f} s.",
    ]


def _same(nodes: list[Node]) -> None:
    """All hold the same bytes."""
    models = {(node.root / "base" / "model.safetensors").read_bytes() for node in nodes}
    assert len(models) == 1


if __name__ == "__main__":
    main()
