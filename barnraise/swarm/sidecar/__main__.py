"""A sidecar: ``python -m barnraise.swarm.sidecar SERVICE``, with settings as one line on standard input.

It says on standard output, in one line, that it is ready or why it cannot be, and ends with standard input.
A guard, forked before anything else, ends the whole group when standard input does, also when this process
was killed and what hivemind has started was not.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from barnraise.errors import BarnraiseError

__all__ = ["main"]

LOOK_S = 5.0  # whether what it started still works
BROKEN = 3  # exit code, when it does not


def main() -> None:
    settings = json.loads(sys.stdin.buffer.readline())
    os.environ["TMPDIR"] = settings["folder"]  # what hivemind and torch leave behind goes with it, however this ends
    _guard(Path(settings["folder"]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    sys.exit(asyncio.run(_run(sys.argv[1], settings)))


async def _run(name: str, settings: dict[str, Any]) -> int:
    from barnraise.swarm.sidecar.service import service_of
    from barnraise.swarm.sidecar.serving import serve

    asked_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)
    try:
        service = service_of(name)
        facts = await service.start(settings)
    except BarnraiseError as error:
        _say({"failed": error.reason})
        return 1
    except Exception as error:
        _say({"failed": f"{type(error).__name__}: {str(error)[:300]}"})  # in a word; the traceback goes to the log
        raise
    server = await serve(Path(settings["folder"]) / "ask", service.commands())
    _say({"ready": dict(facts)})
    while not asked_to_end.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(asked_to_end.wait(), LOOK_S)
        if fault := await service.fault():
            print(f"this sidecar ends, for {fault}", file=sys.stderr, flush=True)
            os._exit(BROKEN)  # nothing to wait for: the owner ends the group, and starts another
    server.close()
    await service.stop()
    return 0


def _say(value: dict[str, Any]) -> None:
    """One line for the owner; what libraries print goes to the log."""
    os.write(1, json.dumps(value).encode("ascii") + b"\n")
    os.dup2(2, 1)


def _guard(folder: Path) -> None:
    """Leave a process that waits for the end of standard input, then ends this group."""
    if os.fork():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the orderly end is not the guard's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(null, number)  # whoever reads them hears when the sidecar itself has ended
    while os.read(0, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
