"""The fields of a form, and what an address says about it: bounded, and with no way out to another place."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

from starlette.requests import Request

from barnraise.errors import OversizedMessageError, UsageError

__all__ = ["given", "read_form", "wanted"]

FORM_MAX_BYTES = 64 * 1024
FIELDS_MAX = 32
GIVEN_MAX = 200
FILLED = ("version", "update", "contributor", "channel", "test")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, bounded; of one that comes twice the first.

    Raises:
        OversizedMessageError: more than 64 KiB.
        UsageError: too many fields.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > FORM_MAX_BYTES:
            raise OversizedMessageError(f"a form has at most {FORM_MAX_BYTES:,} bytes")
    try:
        found = parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise UsageError(f"a form has at most {FIELDS_MAX} fields") from error
    return {name: values[0] for name, values in found.items()}


def given(request: Request) -> dict[str, str]:
    """What a link from another page fills in."""
    return {name: value[:GIVEN_MAX] for name, value in request.query_params.items() if name in FILLED}


def wanted(place: str) -> str:
    """Where to go after signing in: a page of the operator's, whatever a link says."""
    path, _, query = place.partition("?")
    if path not in ("/operator", "/operator/audit"):
        return "/operator"
    fields = {name: values[0][:GIVEN_MAX] for name, values in parse_qs(query).items() if name in FILLED}
    return f"{path}?{urlencode(fields)}" if fields else path
