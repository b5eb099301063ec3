"""Ledger rows as the messages that strangers read. Pure: facts in, message out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from barnraise.config import RunConfig
from barnraise.protocol import PROTOCOL_VERSION, RoundInfo, RunInfo, RunTerms, SwarmInfo
from coordinator.admission import AdmissionPolicy, collecting_ends_ms
from coordinator.ledger import Ledger, RoundRow

__all__ = ["RunKeys", "current_round_info", "round_info", "run_info"]

PASSED_CHECK = ("checked", "merged", "reverted")


def round_info(row: RoundRow, leased: int, counts: Mapping[str, int], ends_ms: int) -> RoundInfo:
    """A round.

    Args:
        leased: leases given in it. counts: state -> number of its updates.
        ends_ms: when collecting ends at the latest.
    """
    return RoundInfo.model_validate(
        {
            "number": row.number,
            "phase": row.phase,
            "reason": row.reason,
            "base_version": row.base_version,
            "base_digest": row.base_digest,
            "opened_at_ms": row.opened_at_ms,
            "deadline_ms": ends_ms,
            "leased": leased,
            "received": sum(counts.values()),
            "checked": sum(counts.get(state, 0) for state in PASSED_CHECK),
            "rejected": counts.get("rejected", 0),
        }
    )


def current_round_info(ledger: Ledger, config: RunConfig, now_ms: int) -> RoundInfo | None:
    """The newest round, None before the first one."""
    row = ledger.current_round()
    if row is None:
        return None
    collect_for_ms = AdmissionPolicy.of(config).collect_for_ms
    ends_ms = collecting_ends_ms(row.first_lease_at_ms, now_ms, collect_for_ms)
    return round_info(row, len(ledger.leases(row.number)), ledger.update_counts(row.number), ends_ms)


@dataclass(frozen=True, slots=True)
class RunKeys:
    """Whom to believe: ``coordinator`` signs leases and receipts, ``root_digest`` is of the root of all releases."""

    coordinator: str
    root_digest: str


def run_info(
    config: RunConfig, keys: RunKeys, newest: str | None, current: RoundInfo | None, swarm: SwarmInfo | None = None
) -> RunInfo:
    """What a stranger needs before joining."""
    return RunInfo(
        protocol=PROTOCOL_VERSION,
        name=config.name,
        description=config.description,
        licence=config.licence,
        coordinator_key=keys.coordinator,
        root_digest=keys.root_digest,
        model=config.model,
        data=config.data,
        residual_decay=config.update.residual_decay,
        newest=newest,
        round=current,
        terms=RunTerms(
            training=config.training,
            codec=config.update.codec,
            lease_for_s=config.round.lease_for_s,
            max_clock_skew_s=config.gateway.max_clock_skew_s,
            max_update_bytes=config.gateway.max_update_bytes,
            max_rounds=config.round.max_rounds,
            turns=config.update.turns,
        ),
        swarm=swarm,
    )
