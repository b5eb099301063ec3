"""The public door: an HTTP application that strangers talk to. Knows neither torch nor ray.

app        routes, and errors as JSON
state      what the routes need: configuration, ledger, key, clock
leasing    answers requests for work
intake     takes updates in, in pieces, so that a 200 is a promise
staging    uploads that are not complete, on disk
blobs      released bytes, whole or a range
bodies     JSON from strangers, bounded before it is parsed
views      ledger rows as protocol messages
deadlines  how slow a client may be; the protocol class that enforces it
"""

from coordinator.gateway.app import create_app
from coordinator.gateway.state import GatewayState

__all__ = ["GatewayState", "create_app"]
