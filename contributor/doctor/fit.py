"""Judge a run's unit against this machine: memory, disk, the time of a lease, and the way out for an update.

Each finding is spelled out where it is made, alike as they look: what was found, what is needed and what to do about
it are read as one.
"""

from __future__ import annotations

from barnraise.protocol import RunInfo
from contributor.doctor.finding import Finding, fail, ok, skipped, warn
from contributor.doctor.machine import FolderFacts, MachineFacts
from contributor.doctor.need import Need, shape_of, unit_seconds
from contributor.doctor.words import mib, span

__all__ = ["judge_memory", "judge_room", "judge_time", "judge_upload"]

SLOW_UPLOAD_S = 60.0


def judge_memory(need: Need | None, machine: MachineFacts) -> Finding:
    """Does a unit fit into memory, with one example at once, or with the whole batch."""
    if need is None:
        return skipped("memory", "not known how much the model needs")
    card = machine.card if machine.cuda_works else None
    have = machine.free_bytes
    if card is not None:
        free, whole, where = card.free_bytes, need.device_whole, "on the card"
        short_of = _too_little("video memory", free, need.device_least)
        if short_of is None and have is not None:
            short_of = _too_little("memory", have, need.machine)
    elif have is None:
        return skipped("memory", "nothing says how much this machine has")
    else:
        free, whole, where = have, need.machine + need.device_whole, "on this machine"
        short_of = _too_little("memory", have, need.machine + need.device_least)
    if short_of is not None:
        return short_of
    if whole > free:
        return warn(
            "memory",
            f"{mib(free)} free {where}",
            needed=f"{mib(whole)} for a whole batch",
            cause="memory-tight",
            cure="it works with fewer examples at once, and slower; closing other programs helps",
        )
    return ok("memory", f"{mib(free)} free {where}", f"about {mib(whole)} for a unit")


def judge_room(parameters: int | None, folder: FolderFacts | None) -> Finding:
    """Is there disk for the model, its cache, the residual and updates."""
    if folder is None or parameters is None:
        return skipped("room", "not known how much the model needs")
    if folder.is_over_quota:
        return skipped("room", f"{folder.error}: nothing can be written, however much is free")
    needed = 4 * parameters * 10  # base twice while it is replaced, residual, moments, a checkpoint of four vectors
    if folder.free_bytes < needed:
        return fail(
            "room",
            f"{mib(folder.free_bytes)} free in {folder.path}",
            needed=f"{mib(needed)} for this run's model, residual, moments and checkpoint",
            cause="disk-full",
            cure="free some, or keep the state on another disk: --home DIR",
        )
    return ok("room", f"{mib(folder.free_bytes)} free in {folder.path}", f"about {mib(needed)} for this run")


def judge_time(info: RunInfo | None, parameters: int | None, operations_per_s: float | None) -> Finding:
    """Does a unit end inside its lease, at the speed that was measured."""
    if info is None or info.terms is None or parameters is None or operations_per_s is None:
        return skipped("speed", "not measured")
    terms, shape = info.terms, shape_of(info.model)
    if shape is None:
        return skipped("speed", f"not estimated for {info.model.architecture}")
    tokens = terms.training.steps * terms.training.batch * shape.tokens
    unit_s = unit_seconds(parameters, tokens, operations_per_s)
    found = f"a unit of {terms.training.steps} steps takes about {span(unit_s)} here"
    needed = f"less than the lease, {span(terms.lease_for_s)}"
    if unit_s > terms.lease_for_s:
        return fail(
            "speed",
            found,
            needed=needed,
            cause="too-slow",
            cure="stop other programs, use a GPU, or ask the operator for longer leases (round.lease_for_s)",
        )
    if unit_s > terms.lease_for_s / 2:
        return warn("speed", found, needed=needed, cause="slow", cure="stop what else runs, or leases may end first")
    return ok("speed", found, needed)


def judge_upload(bytes_per_s: float, need: Need | None, lease_for_s: float | None) -> Finding:
    """Does an update get out in a reasonable time, at the rate that was measured."""
    rate = f"{bytes_per_s / 1e6:,.2f} MB a second"
    if need is None:
        return ok("upload", rate)
    takes_s = need.update / bytes_per_s
    found = f"{rate}; an update of about {mib(need.update)} takes {span(takes_s)}"
    if lease_for_s is not None and takes_s > lease_for_s:
        return fail(
            "upload",
            found,
            needed=f"less than the lease, {span(lease_for_s)}",
            cause="upload-slow",
            cure="a faster connection, or ask the operator for a stronger codec",
        )
    if takes_s > SLOW_UPLOAD_S:
        return warn("upload", found, cause="upload-slow", cure="it works; a cable instead of wireless may help")
    return ok("upload", found)


def _too_little(what: str, have: int, need: int) -> Finding | None:
    if have >= need:
        return None
    return fail(
        "memory",
        f"{mib(have)} of {what} free",
        needed=f"at least {mib(need)} for one example at once",
        cause="memory-short",
        cure="close other programs; else this run's model is too large for this machine",
    )
