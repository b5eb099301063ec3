"""Look at a run that answers, and measure this machine against it. Nothing here decides, nothing is leased."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path

from barnraise.errors import BarnraiseError, MessageError, NetworkError
from barnraise.identity import Identity
from barnraise.protocol import RunInfo
from contributor.client import GatewayClient
from contributor.control.asking import holder
from contributor.doctor.network import NetworkFacts, run_said
from contributor.doctor.observe_machine import training_speed
from contributor.doctor.observe_network import ask
from contributor.doctor.terms import ENDED, LocalFacts, TermsFacts

__all__ = ["observe_run"]

FIRST_BYTES, THEN_BYTES = 64 << 10, 1 << 20
QUICK_S = 0.5
TRAINING_SHARE = 0.25
"""Of what products of matrices reach, what training does, on the careful side: measured 0.33 to 0.71 on one CPU thread
for byte-lm of 0.4 to 18 million parameters; not measured on a card."""


def observe_run(network: NetworkFacts, key: Path, home: Path) -> TermsFacts | None:
    """What a run asks, and what this machine has for it; None where no coordinator answered.

    Args:
        key: file of the signing key, which is not made here. home: folder of nodes.
    """
    said = run_said(network)
    if said is None:
        return None
    facts = TermsFacts(said=said, info=None, offset_s=_offset(network), local=_local(key, home, str(said.get("name"))))
    try:
        info = RunInfo.read(said)
    except MessageError as error:
        return replace(facts, unreadable=str(error))
    facts = replace(facts, info=info, complete=_complete(info))
    if facts.local is not None:
        facts = _with_history(facts, network.url, facts.local.public)
    parameters, task_error, data_error = _task(info)
    facts = replace(facts, parameters=parameters, task_error=task_error, data_error=data_error)
    speed = training_speed() if parameters is not None else None
    rate, why = _upload(network.url)
    return replace(
        facts,
        operations_per_s=None if speed is None else speed * TRAINING_SHARE,
        upload_bytes_per_s=rate,
        upload_said=why,
    )


def _offset(network: NetworkFacts) -> float | None:
    """How far this clock is ahead. The Date header counts whole seconds, so half of one is taken off."""
    answer = network.run
    if answer is None or answer.date_ms is None:
        return None
    offset_s = (network.now_ms - answer.date_ms) / 1000 - answer.took_s / 2 - 0.5
    return 0.0 if abs(offset_s) < 1.0 else offset_s


def _local(key: Path, home: Path, run: str) -> LocalFacts | None:
    try:
        public = Identity.load(key).public
    except (FileNotFoundError, BarnraiseError):
        return None
    root = home / run / public[:8]
    known = "/" not in run and (root / "lock").is_file()
    return LocalFacts(public, locked=known and holder(root) is not None)


def _with_history(facts: TermsFacts, url: str, public: str) -> TermsFacts:
    try:
        return replace(facts, key=GatewayClient.connect(url).key_history(public))
    except (NetworkError, MessageError):
        return facts


def _complete(info: RunInfo) -> str:
    most = info.terms.max_rounds if info.terms is not None else None
    if most is None or info.round is None or info.round.number < most or info.round.phase not in ENDED:
        return ""
    return f"the run is complete after {most} rounds"


def _task(info: RunInfo) -> tuple[int | None, str, str]:
    """Parameters of the model, why it cannot be built, and why its data is not here."""
    try:
        from merge.architectures import parameter_count
    except ImportError:
        return None, "", ""
    try:
        parameters = parameter_count(info.model)
    except BarnraiseError as error:
        return None, str(error), ""
    if info.data.corpus == "local":
        return parameters, "", ""  # the owner names it when joining
    from barnraise.corpora import corpus_of

    try:
        source = corpus_of(info.data)
        for shard in list(getattr(info.data, "shards", {}))[:1]:
            source.text(shard, "train")
    except BarnraiseError as error:
        return parameters, "", str(error)
    return parameters, "", ""


def _upload(url: str) -> tuple[float | None, str]:
    """Bytes a second, from 64 KiB that are thrown away at the other end, and 1 MiB more where that was quick."""
    rate: float | None = None
    for size in (FIRST_BYTES, THEN_BYTES):
        answer = ask(url, "/v1/discard", body=secrets.token_bytes(size))
        if answer.trouble or answer.status != 200:
            return rate, _why_not(answer.said, answer.status, answer.body)
        rate = size / max(answer.took_s, 1e-3)
        if answer.took_s > QUICK_S:
            break
    return rate, ""


def _why_not(said: str, status: int, body: bytes) -> str:
    try:
        reason = str(json.loads(body)["error"]["reason"])[:200]
    except (ValueError, KeyError, TypeError):
        reason = said or f"HTTP {status}"
    return f"not measured: {reason}"
