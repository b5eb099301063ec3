"""Through the gateway's door: what an update weighs is what was counted, not what was stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from barnraise.digest import digest_bytes
from barnraise.merge_config import MergeConfig
from coordinator.conductor.merging import plan_inputs
from coordinator.story import update_story
from doorstep import ADA, BOB, Doorstep, doorstep


@pytest.fixture(name="door")
def _door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as door:
        yield door


def send(door: Doorstep, data: bytes, who: object, **stated: int) -> str:
    lease = door.leased(who)  # type: ignore[arg-type]
    announced = door.post("/v1/updates", door.envelope(lease, data, who, **stated))  # type: ignore[arg-type]
    assert announced.status == 200, announced.body
    assert door.put(data, 0, data).status == 200
    return digest_bytes(data)


def weights(door: Doorstep) -> dict[str, float]:
    rows = door.ledger.updates(round=1)
    inputs = plan_inputs(MergeConfig(weight_by="tokens"), [(row.digest, row.tokens) for row in rows])
    return {item.digest: item.weight for item in inputs}


def test_who_states_a_thousand_times_the_tokens_weighs_what_a_whole_unit_weighs(door: Doorstep) -> None:
    config = door.state.config
    examples = config.training.steps * config.training.batch
    whole = {"steps": config.training.steps, "examples": examples, "tokens": examples * config.model.context}
    honest = send(door, b"honest", ADA, **whole)
    liar = send(door, b"liar", BOB, **{name: 1000 * value for name, value in whole.items()})
    assert weights(door) == {honest: float(whole["tokens"]), liar: float(whole["tokens"])}
    row = door.ledger.update(liar)
    assert row is not None
    assert row.steps == config.training.steps
    assert row.envelope["body"]["tokens"] == 1000 * whole["tokens"]
    said = update_story(door.ledger, config, liar).happened[0].words
    assert said.endswith(f", {whole['tokens']:,} of the {1000 * whole['tokens']:,} stated tokens count")


def test_who_states_no_tokens_does_not_stop_the_round(door: Doorstep) -> None:
    assert weights(door) | {send(door, b"nothing", ADA, tokens=0): 1.0} == weights(door)


def test_what_was_counted_stays_when_the_same_update_is_sent_again(door: Doorstep) -> None:
    lease = door.leased(ADA)
    envelope = door.envelope(lease, b"again", ADA, tokens=1 << 50)
    assert door.post("/v1/updates", envelope).status == 200
    assert door.put(b"again", 0, b"again").status == 200
    before = weights(door)
    door.now_ms += 60_000
    door.restart()
    assert door.post("/v1/updates", envelope).status == 200
    assert weights(door) == before
