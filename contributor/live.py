"""Around a working node: who watches it, who may command it, and what is left behind however it ends.

events --> the owner's terminal
       --> status, for commands and page     kept in status.json: at the start, at receipts, at the end
       --> history.jsonl
       --> the last 50, for a report if the node crashes
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from barnraise.errors import BarnraiseError, NodeCrashedError
from contributor.control.commands import commands_of
from contributor.control.server import listening
from contributor.events import NodeEvent, Notice
from contributor.folder import NodeFolder
from contributor.history import Journal, read_history
from contributor.interrupt import Interrupt
from contributor.page.render import Shown
from contributor.page.server import serving_page
from contributor.report import Flight, crash
from contributor.status import NodeStatus, Watch
from contributor.swarm.status import SwarmStatus

__all__ = ["Life", "live"]

Report = Callable[[NodeEvent], None]

KEPT_AT = frozenset({"joined", "received"})
"""Events at which the status is written down, for the case that this node is killed and writes no end."""

AT_ONCE = "Ctrl-C was pressed until it left at once"
UNREAD = "nobody reads its output any more (broken pipe); send that to a file: barnraise join URL > node.log"


@dataclass(frozen=True)
class Life:
    """What surrounds a node.

    Attributes:
        folder: of the node, locked by the caller. page: serve the status page.
        swarm: how the swarm is, at any moment.
        flight: the last events, for a report.
    """

    folder: NodeFolder
    interrupt: Interrupt
    report: Report
    now_ms: Callable[[], int]
    page: bool = False
    swarm: Callable[[], SwarmStatus] = SwarmStatus
    flight: Flight = field(default_factory=Flight)


@contextmanager
def live(life: Life) -> Iterator[Report]:
    """Watch, command and record the node that works inside the block; where it reports to.

    Raises:
        NodeCrashedError: the block raised what nobody foresaw; a report was written.
    """
    watch = Watch(NodeStatus(pid=os.getpid(), started_at_ms=life.now_ms(), since_ms=life.now_ms()), life.swarm)
    journal = Journal(life.folder.history)

    def report(event: NodeEvent) -> None:
        at_ms = life.now_ms()
        life.flight.note(event, at_ms)
        watch.tell(event, at_ms)
        if event.kind in KEPT_AT:
            watch.keep(life.folder.status)
        failed_before = journal.failure
        journal.note(event, at_ms)
        with _gone_terminal_allowed():
            life.report(event)
        if journal.failure and journal.failure != failed_before:
            report(Notice(journal.failure))

    with ExitStack() as stack:
        stack.callback(watch.keep, life.folder.status)
        _open(life, watch, report, stack)
        try:
            yield report
        except NodeCrashedError as error:
            watch.now("crashed", str(error), life.now_ms())
            raise
        except BrokenPipeError:
            watch.now("stopped", UNREAD, life.now_ms())
            raise
        except KeyboardInterrupt:
            watch.now("stopped", AT_ONCE, life.now_ms())
            raise
        except BarnraiseError as error:
            watch.now("stopped", str(error), life.now_ms())
            raise
        except Exception as error:
            crashed = crash(error, life.folder.reports, life.flight, life.now_ms()).error()
            watch.now("crashed", str(crashed), life.now_ms())
            raise crashed from error


@contextmanager
def _gone_terminal_allowed() -> Iterator[None]:
    """A terminal that was closed takes no more lines; what was begun is saved all the same."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def _open(life: Life, watch: Watch, report: Report, stack: ExitStack) -> None:
    """Begin to take commands, and serve the page if it is wanted."""
    commands = commands_of(life.interrupt, watch)
    stack.enter_context(listening(life.folder.root, commands, lambda said: report(Notice(said))))
    if not life.page:
        return

    def shown(form_token: str) -> Shown:
        return Shown(watch.status, read_history(life.folder.history), life.now_ms(), form_token)

    try:
        url = stack.enter_context(serving_page(shown, commands))
    except OSError as error:
        report(Notice(f"there is no status page: nothing can listen on 127.0.0.1 ({error.strerror or error})"))
        return
    watch.set(page=url)
    life.report(Notice(f"status page, for you alone: {url}"))  # its token belongs into no record
