"""Who may speak in a team's DHT and ask its members to average: whoever has secrets of the team's key.

hivemind's DHT asks an authorizer about every request and every answer. Its averager knows no such thing, and the
names of its methods are told to any peer that connects, so who asks to join a group proves itself there too.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from typing import AsyncIterator  # noqa: UP035  hivemind knows a stream by this name of its type alone

from hivemind.averaging import DecentralizedAverager
from hivemind.p2p import P2PContext
from hivemind.proto import averaging_pb2
from hivemind.proto.auth_pb2 import AccessToken
from hivemind.utils.auth import TokenAuthorizerBase

from barnraise.errors import SwarmError
from barnraise.swarm.sidecar.faults import unpacked
from barnraise.swarm.team_key import seal

__all__ = ["TeamAuthorizer", "TeamAverager", "opened", "sealed"]

TOKEN_HOLDS = timedelta(hours=1)
TOKEN_RENEWED = timedelta(minutes=30)
GATHER_MAX_BYTES = 64 << 10


class TeamAuthorizer(TokenAuthorizerBase):
    """Tokens that members make themselves: a peer's own key, for an hour, sealed with the team's secret."""

    def __init__(self, access: bytes) -> None:
        super().__init__()
        self._access = access

    async def get_token(self) -> AccessToken:
        token = AccessToken(
            username="member",
            public_key=self.local_public_key.to_bytes(),
            expiration_time=(datetime.now(UTC) + TOKEN_HOLDS).isoformat(),
        )
        token.signature = self._sealed(token)
        return token

    def is_token_valid(self, access_token: AccessToken) -> bool:
        ends = _ends(access_token)
        return (
            ends is not None
            and datetime.now(UTC) < ends
            and hmac.compare_digest(access_token.signature, self._sealed(access_token))
        )

    def does_token_need_refreshing(self, access_token: AccessToken) -> bool:
        ends = _ends(access_token)
        return ends is None or ends - datetime.now(UTC) < TOKEN_RENEWED

    def _sealed(self, token: AccessToken) -> bytes:
        said = token.username.encode(), token.public_key, token.expiration_time.encode()
        return seal(self._access, *said)


class TeamAverager(DecentralizedAverager):
    """Averages with members only, and is ended in a way that its parent does not take for its own end."""

    words: bytes = b""

    async def rpc_join_group(
        self, request: averaging_pb2.JoinRequest, context: P2PContext
    ) -> AsyncIterator[averaging_pb2.MessageFromLeader]:
        if _said_by(request.gather, context.remote_id.to_bytes(), self.words) is None:
            yield averaging_pb2.MessageFromLeader(code=averaging_pb2.PROTOCOL_VIOLATION)
            return
        async for message in super().rpc_join_group(request, context):
            yield message

    def terminate(self) -> None:
        # A child's SIGTERM would be written to the pipe that asyncio has for its parent's signals, which it shares.
        self.kill()


def sealed(said: bytes, peer: bytes, words: bytes) -> dict[str, bytes]:
    """What a member gives along when it asks to average."""
    return {"said": said, "seal": seal(words, peer, said)}


def opened(given: object, peer: bytes, words: bytes) -> bytes | None:
    """What was said, if a member has sealed it for this peer; None otherwise."""
    if not isinstance(given, dict) or not isinstance(given.get("said"), bytes):
        return None
    proof = given.get("seal")
    if not isinstance(proof, bytes) or not hmac.compare_digest(proof, seal(words, peer, given["said"])):
        return None
    said: bytes = given["said"]
    return said


def _said_by(gather: bytes, peer: bytes, words: bytes) -> bytes | None:
    """What the sender of a request to join a group gives along, if it is a member."""
    if len(gather) > GATHER_MAX_BYTES:
        return None
    try:
        match unpacked(gather):
            case (_, _, bytes() as given):
                return opened(unpacked(given), peer, words)
    except SwarmError:
        pass
    return None


def _ends(token: AccessToken) -> datetime | None:
    try:
        ends = datetime.fromisoformat(token.expiration_time)
    except ValueError:
        return None
    return ends if ends.tzinfo is not None else None
