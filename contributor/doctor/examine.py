"""Examine this machine, the way to a coordinator and its run; and say what a failed ``join`` died of.

Checks stand in order of cause, so the first failure is the one to see to: whoever has no network has no bad
certificate, and a run that cannot be read has no memory that is too small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barnraise.errors import BarnraiseError, MissingExtraError, NameClashError, RefusedError, UnreachableError
from contributor.doctor.finding import Finding, fail, main_cause, skipped
from contributor.doctor.machine import judge_machine
from contributor.doctor.network import NetworkFacts, judge_network
from contributor.doctor.observe_machine import observe_machine
from contributor.doctor.observe_network import observe_network
from contributor.doctor.observe_run import observe_run
from contributor.doctor.terms import judge_terms

__all__ = ["REFUSALS", "Diagnosis", "examine", "judge_error", "judge_refusal"]


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in order of cause."""

    findings: tuple[Finding, ...]
    url: str | None

    @property
    def main(self) -> Finding | None:
        """What is in the way; None when nothing is."""
        return main_cause(self.findings)

    @property
    def warnings(self) -> int:
        return sum(finding.mark == "warning" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        main = self.main
        return {
            "url": self.url,
            "can_join": main is None,
            "main_cause": main.cause if main is not None else None,
            "checks": [finding.as_json() for finding in self.findings],
        }


def examine(url: str | None, key: Path, home: Path) -> Diagnosis:
    """Look at everything; without a URL at this machine alone.

    Args:
        key: file of the signing key. home: folder of nodes.
    """
    machine = observe_machine({"state": home, "config": key.parent})
    findings = judge_machine(machine)
    if url is None:
        return Diagnosis(
            (*findings, skipped("coordinator", "give its URL to look at the way there, and at its run")), None
        )
    network = observe_network(url)
    findings += judge_network(network)
    run = observe_run(network, key, home)
    findings += judge_terms(run, machine) if run is not None else [skipped("run", "not known, as nobody tells of it")]
    return Diagnosis(tuple(findings), url)


REFUSALS: Mapping[str, tuple[str, str]] = {
    "banned": ("key-banned", "ask the operator; another key of yours would be banned as well"),
    "retired-key": ("key-retired", "use the key in its place: barnraise identity import FILE --in-place-of-old"),
    "clock-skew": ("clock-off", "set this machine's clock: sudo timedatectl set-ntp true"),
    "quota-exceeded": (
        "quota",
        "let the updates that wait be checked first; two nodes with one key share one quota, so give each its own",
    ),
    "lease": (
        "lease-over",
        "if it happens again and again, this machine is too slow for the run or another node works with the same key",
    ),
    "replayed-message": ("key-elsewhere", "another node works with this key: make one for each, with --key FILE"),
    "disk-full": ("coordinator-disk-full", "nothing on this machine; tell the operator"),
    "storage": ("coordinator-storage", "nothing on this machine; tell the operator"),
    "bad-signature": ("key-altered", "start again; if that does not help: barnraise identity show URL"),
    "unknown-field": (
        "protocol-newer",
        "the two sides are of different versions: pip install -U 'barnraise[contributor]'",
    ),
    "not-found": ("wrong-path", "check host, port and path of the URL"),
}
"""The coordinator's own code of a refusal -> its cause here, and what helps."""


def judge_refusal(code: str, reason: str) -> Finding | None:
    """What a coordinator's refusal means; None for one that says itself."""
    known = REFUSALS.get(code)
    return None if known is None else fail("coordinator", reason, cause=known[0], cure=known[1])


def judge_error(
    error: BarnraiseError, url: str, look: Callable[[str], NetworkFacts] = observe_network
) -> Finding | None:
    """What a failed start died of, when more can be said than the error itself does.

    Args:
        look: at the way to the coordinator; called only when that may be the cause.
    """
    if isinstance(error, RefusedError) and error.remote_code:
        return judge_refusal(error.remote_code, str(error))
    if isinstance(error, UnreachableError | RefusedError):
        return main_cause(judge_network(look(url)))
    if isinstance(error, MissingExtraError | NameClashError):
        return None  # these name their cure
    return None
