"""The thread of a node that talks to the swarm about the run: says how far this node is, and finds a moved coordinator.

It asks its sidecar and never holds up the node, which goes on asking its coordinator meanwhile. Nothing that it
hears is believed: ``finding`` says what counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from barnraise.clock import now_ms
from barnraise.errors import BarnraiseError, MessageError, SwarmError
from barnraise.releases.durable import replace_file
from barnraise.swarm.process import Sidecar
from barnraise.swarm.records import NodeProgress, open_progress, pack, progress_subkey
from contributor.client import GatewayClient
from contributor.events import Moved, NodeEvent
from contributor.status import NodeStatus
from contributor.swarm.announcing import Announcer, is_due
from contributor.swarm.finding import Heard, Tried, choose, is_another, newest_beacon, to_try
from contributor.swarm.memory import SwarmMemory
from contributor.swarm.node import SwarmNode

__all__ = ["Discovery", "discovering"]

LOOK_AFTER_S = 20.0
"""A coordinator that is silent for so long may be elsewhere. A restart takes less."""

LOOK_EVERY_MS = 30_000
GLANCE_EVERY_MS = 30_000
ALONE_EVERY_MS = 15_000
TURN_S = 1.0
ASK_S = 30.0


class Discovery:
    """One node's. :meth:`turn` does what is due; :func:`discovering` calls it.

    Args:
        sidecar: with the part ``discovery``.
        client: of a gateway by its URL. clock_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        node: SwarmNode,
        sidecar: Sidecar,
        client: Callable[[str], GatewayClient] = GatewayClient.connect,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._node, self._sidecar, self._client, self._clock_ms = node, sidecar, client, clock_ms
        self._memory = SwarmMemory.load(node.folder.swarm)
        self._announcer = Announcer(node.info.name, node.name)
        self._status = NodeStatus(pid=0, started_at_ms=0)
        self._told = threading.Lock()
        self._announced: NodeProgress | None = None
        self._due_ms = {"look": 0, "glance": 0}
        self._said = ""
        self._stopping = threading.Event()

    def tell(self, event: NodeEvent) -> None:
        """Something happened in the node. From its thread."""
        with self._told:
            self._status = self._status.after(event, self._clock_ms())

    def work(self) -> None:
        """Take turns until :meth:`stop`."""
        while not self._stopping.wait(TURN_S):
            try:
                self.turn()
            except BarnraiseError as error:
                self._say_once(f"discovery rests for a while, and goes on: {error}", str(error))
                self._stopping.wait(LOOK_EVERY_MS / 1000)

    def stop(self) -> None:
        """Say and change nothing from now on; what is being asked ends with the sidecar."""
        self._stopping.set()

    def turn(self) -> None:
        """Do what is due now. What the sidecar cannot do is left for later."""
        silent_s = self._node.where.silent_s
        if silent_s >= LOOK_AFTER_S and self._is_due("look", LOOK_EVERY_MS):
            self._look(silent_s)
        if self._sidecar.state.doing != "ready":
            return
        with suppress(SwarmError):
            self._announce()
            if self._is_due("glance", GLANCE_EVERY_MS):
                self._glance()

    def _is_due(self, what: str, every_ms: int) -> bool:
        now = self._clock_ms()
        if now < self._due_ms[what]:
            return False
        self._due_ms[what] = now + every_ms
        return True

    # -- a moved coordinator -------------------------------------------------------------------------

    def _look(self, silent_s: float) -> None:
        """Ask the swarm where the coordinator is, and go there if it really is."""
        where, before = self._node.where, self._node.where.url
        try:
            heard = self._hear()
        except SwarmError as error:
            said = f"{before} has been silent for {silent_s:.0f} s, and the swarm cannot be asked: {error}"
            self._say_once(said, str(error))
            return
        tried = (self._try(url) for url in (to_try(heard.beacon, before) if heard.beacon is not None else ()))
        chosen = choose(heard, tried, before, silent_s, self._clock_ms())
        if chosen.url is None:
            self._say_once(chosen.reason, chosen.kind)
        elif where.silent_s and not self._stopping.is_set():  # it may have answered meanwhile
            self._go(chosen.url, before, chosen.reason)

    def _hear(self) -> Heard:
        """The newest beacon that holds; what it says of hosts is remembered, of releases told.

        Raises:
            SwarmError: the sidecar cannot be asked.
        """
        found = self._sidecar.ask("beacon", ASK_S)["records"]
        records = [str(one["record"]) for one in found]
        heard = newest_beacon(records, self._node.info, self._clock_ms(), self._memory.beacon_at_ms)
        if heard.beacon is not None and heard.beacon.at_ms > self._memory.beacon_at_ms:
            self._remember(self._memory.with_beacon(heard.beacon))
        if heard.beacon is not None and heard.beacon.newest is not None:
            self._node.tally.note("discovery", newest=heard.beacon.newest, newest_at_ms=heard.beacon.at_ms)
        return heard

    def _try(self, url: str) -> Tried:
        """Whether the run is there."""
        try:
            return Tried(url, is_another(self._client(url).run_info(), self._node.info))
        except BarnraiseError as error:
            return Tried(url, str(error))

    def _go(self, url: str, before: str, reason: str) -> None:
        node = self._node
        self._remember(self._memory.with_move(before, url))
        replace_file(node.folder.url, f"{url}\n".encode())
        node.where.move(url)
        node.tally.add("discovery", moved=1)
        node.tally.note("discovery", last=f"It is at {url}, it was at {before}")
        node.report(Moved(url, before, reason))
        self._said = ""

    def _remember(self, memory: SwarmMemory) -> None:
        self._memory = memory
        memory.keep(self._node.folder.swarm)

    def _say_once(self, sentence: str, kind: str) -> None:
        """A hint that does not hold, or none at all: said once, however long it stays so."""
        if kind != self._said and not self._stopping.is_set():
            self._said = kind
            self._node.say(sentence)

    # -- what others are told, and tell ---------------------------------------------------------------

    def _announce(self) -> None:
        facts = self._sidecar.state.facts
        if facts is None:
            return
        with self._told:
            status = self._status
        progress = self._announcer.progress(status, str(facts["peer"]), self._clock_ms())
        if not is_due(self._announced, progress):
            return
        identity = self._node.identity
        self._sidecar.ask(
            "publish",
            ASK_S,
            what="nodes",
            subkey=progress_subkey(identity.public, progress.peer),
            record=pack(progress, identity).decode("ascii"),
            expires_at_ms=progress.expires_at_ms,
        )
        self._announced = progress

    def _glance(self) -> None:
        """Who else is there; and if nobody is known, try again those who were."""
        about = self._sidecar.ask("about", ASK_S)
        self._node.tally.note("discovery", peers=int(about["peers"]))
        if not about["peers"]:
            known = tuple(dict.fromkeys((*self._node.bootstrap, *self._named_now(), *self._memory.bootstrap)))
            self._due_ms["glance"] = self._clock_ms() + ALONE_EVERY_MS
            if not known or not self._sidecar.ask("meet", ASK_S, addresses=known)["met"]:
                reached = f"none of {len(known)} known hosts answers" if known else "the run names no hosts"
                self._node.tally.note("discovery", alone=f"alone so far, for {reached}")
                return
        self._node.tally.note("discovery", alone="")
        self._hear()
        seen = self._nodes()
        others = [key for key, _ in seen if key != self._node.identity.public]
        told = [{"contributor": key, **progress.model_dump(mode="json")} for key, progress in seen]
        self._node.tally.note("discovery", nodes=len(others), seen=told, seen_at_ms=self._clock_ms())

    def _named_now(self) -> tuple[str, ...]:
        """Hosts that the run names by now: there may have been none yet when this node joined."""
        try:
            info = self._client(self._node.where.url).run_info()
        except BarnraiseError:
            return ()
        return info.swarm.bootstrap if info.swarm is not None else ()

    def _nodes(self) -> list[tuple[str, NodeProgress]]:
        """Contributors' keys, and what their nodes are doing: of the records that hold.

        Raises:
            SwarmError: the sidecar cannot be asked.
        """
        found: list[tuple[str, NodeProgress]] = []
        for one in self._sidecar.ask("nodes", ASK_S)["records"]:
            with suppress(MessageError):
                record, subkey = str(one["record"]).encode(), str(one["subkey"])
                found.append(open_progress(record, self._node.info.name, subkey, self._clock_ms()))
        return found


@contextmanager
def discovering(discovery: Discovery) -> Iterator[None]:
    """Have it work while the block runs, in a thread of its own."""
    threading.Thread(target=discovery.work, name="discovery", daemon=True).start()
    try:
        yield
    finally:
        discovery.stop()
