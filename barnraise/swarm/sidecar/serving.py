"""Requests at a Unix socket, answered by a service's commands; each connection asks once."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from barnraise.errors import BarnraiseError, SwarmError
from barnraise.swarm.lines import LINE_MAX_BYTES, answer_line, asked, refusal_line
from barnraise.swarm.sidecar.service import Command

__all__ = ["answer", "serve"]


async def serve(path: Path, commands: Mapping[str, Command]) -> asyncio.AbstractServer:
    """Listen at ``path``, which is in a folder that only its owner may enter."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.IncompleteReadError):
            writer.write(await answer(await reader.readline(), commands))
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(converse, path, limit=LINE_MAX_BYTES)


async def answer(line: bytes, commands: Mapping[str, Command]) -> bytes:
    """What is answered to a line; a fault of a command is written to standard error and ends that command only."""
    try:
        name, arguments = asked(line)
        if name not in commands:
            raise SwarmError(f"there is no command {name[:40]!a}; there are {', '.join(sorted(commands))}")
        return answer_line(await commands[name](arguments))
    except BarnraiseError as error:
        return refusal_line(error.code, error.reason)
    except Exception as error:  # noqa: BLE001  hivemind raises all kinds; the owner hears of it and goes on without
        traceback.print_exc(file=sys.stderr)
        return refusal_line("swarm", f"{type(error).__name__}: {str(error)[:300]}")
