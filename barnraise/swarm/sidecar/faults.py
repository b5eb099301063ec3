"""What hivemind raises, as our error: here the swarm's boundary is crossed.

hivemind promises no exceptions. It passes on what its daemon says, what its other processes raise and what msgpack
makes of the bytes of strangers, which is anything; so everything is translated, and keeps what it was in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hivemind.utils.serializer import MSGPackSerializer

from barnraise.errors import BarnraiseError, SwarmError

__all__ = ["translated", "unpacked"]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Around calls into hivemind, and nothing else.

    Raises:
        SwarmError: ``what``, and what hivemind said. Errors of ours pass as they are.
    """
    try:
        yield
    except BarnraiseError:
        raise
    except Exception as error:
        said = str(error).strip()[:300]
        raise SwarmError(f"{what} ({type(error).__name__}{': ' if said else ''}{said})") from error


def unpacked(data: bytes) -> object:
    """What a stranger has packed with msgpack.

    Raises:
        SwarmError: it is no msgpack.
    """
    with translated("what a stranger sent is no msgpack"):
        return MSGPackSerializer.loads(data)
