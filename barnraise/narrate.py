"""Ledger events in words: one sentence each, the same in the log, on the terminal and in the demo.

Works on events as ``/v1/events`` sends them, so a spectator needs nothing but HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["in_turn", "narrate", "short", "suspected"]

_SUSPECTED = {"copy": "a copy", "free-rider": "a free rider", "tuned": "tuned to public examples"}


def short(digest_or_key: str) -> str:
    """The first ten hex digits of a digest or key, enough to tell them apart on a screen."""
    return digest_or_key.removeprefix("b3:")[:10]


def suspected(recognised: Mapping[str, Any]) -> str:
    """What a round recognised of an update, in words: ``may be a copy: ..``."""
    label = str(recognised["label"])
    return f"may be {_SUSPECTED.get(label, label)}: {recognised['reason']}"


def in_turn(merge: Mapping[str, Any]) -> str:
    """Which share of the elements a merge moved, in words; "" where that is all of them.

    Args:
        merge: the record of a merge; of old ones nothing is known.
    """
    turns = {what: every for what, every in (merge.get("turns") or {}).items() if every is not None}
    if len(set(turns.values())) == 1 and len(turns) > 1:
        return f"one of {turns['patch']} elements had its turn"
    said = {"updates": "updates say", "patch": "the patch says"}
    return ", ".join(f"{said[what]} one of {every} elements" for what, every in sorted(turns.items(), reverse=True))


def narrate(kind: str, payload: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What happened, in one line; "" for events that nobody needs to watch.

    Args:
        kind, payload: of a ledger event.
        names: contributor key, or digest of an update -> display name, as far as known.
    """
    by = f" of {names[payload['digest']]}" if payload.get("digest", "") in names else ""
    who = names.get(payload.get("contributor", ""), short(payload.get("contributor", "")))
    digest = short(payload.get("digest", ""))
    number = payload.get("number", payload.get("round"))
    match kind:
        case "run-created":
            return f"run {payload['name']} created"
        case "contributor-seen":
            return f"{payload['name']} ({short(payload['contributor'])}) is here"
        case "lease-granted":
            return f"round {number}: {who} trains {payload['shard']} from {payload['base_version']}"
        case "lease-released":
            return f"round {number}: {who} gave its lease back"
        case "update-received":
            return f"round {number}: received {digest} from {who}, {payload['size_bytes']:,} bytes"
        case "update-checked":
            return f"round {number}: checked {digest}{by}: {payload['reason']}"
        case "update-rejected":
            return f"round {number}: REJECTED {digest}{by} ({payload['found_by']}): {payload['reason']}"
        case "update-unmerged":
            return f"round {number}: not merged {digest}{by}: {payload['reason']}"
        case "round-opened":
            return f"round {number}: open, from {payload['base_version']}"
        case "round-moved":
            return f"round {number}: {payload['phase']}: {payload['reason']}"
        case "round-merged":
            return f"round {number}: merged {payload['reason']}"
        case "release-tagged":
            return f"TAGGED {payload['version']} ({payload['bump']}): {payload['reason']}"
        case "notice-settled" if not payload["delivered"]:
            return f"NOT TOLD {payload['target']} of event {payload['seq']}: {payload['reason']}"
        case "channel-moved":
            why = f": {payload['reason']}" if payload.get("reason") else ""
            return f"channel {payload['channel']} -> {payload['new']}{why}"
        case _:
            return _ordered(kind, payload, f"{digest}{by}", who)


def _ordered(kind: str, payload: Mapping[str, Any], update: str, who: str) -> str:
    """What was ordered, and what an order led to."""
    match kind:
        case "order-placed":
            return f"order {payload['order_id']}: {payload['order']['kind']}"
        case "operator-acted":
            order = f" (order {payload['order_id']})" if payload["order_id"] else ""
            return f"operator {payload['session']} {payload['what'].replace('-', ' ')} from {payload['place']}{order}"
        case "order-settled":
            return f"order {payload['order_id']}: {'done' if payload['done'] else 'REFUSED'}: {payload['reason']}"
        case "release-yanked" if payload["reason"] is None:
            return f"{payload['version']} is yanked no more"
        case "release-yanked":
            return f"YANKED {payload['version']}: {payload['reason']}"
        case "release-promoted":
            return f"PROMOTED {payload['version']} to stable"
        case "release-withdrawn":
            return f"{payload['version']} is promoted no more"
        case "update-reverted":
            return f"reverted {update} in {payload['version']}: {payload['reason']}"
        case "contributor-banned":
            return f"BANNED {who}: {payload['reason']}"
        case "ban-lifted":
            return f"{who} may contribute again"
        case "contributor-quarantined":
            return f"{who} is in quarantine: {payload['reason']}"
        case "quarantine-ended":
            return f"{who} is in quarantine no more"
        case "channel-probed":
            return f"channel {payload['channel']} at {payload['version']}: {payload['reason']}"
        case "key-replaced":
            return f"{who} signs with {short(payload['new_key'])} from now on ({payload['how']})"
        case "recovery-claimed":
            return f"{who}: a recovery to key {short(payload['new_key'])} was asked for; the key in use may object"
        case "recovery-ended":
            return f"{who}: recovery {'done' if payload['done'] else 'OBJECTED TO'}: {payload['reason']}"
        case "model-derived":
            return f"derived model {payload['name']} {payload['version']} listed: {payload['reason']}"
        case _:
            return ""
