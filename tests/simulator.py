"""A whole run in one process: real ledger, store, merging and tests; no Ray, no HTTP, no real clock.

    simulation = Simulation(tmp_path)
    simulation.ada.delivers()
    simulation.runs_until("released")

The model is tiny but real, and so is the training: a few steps on a shard's own text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.config import RunConfig, load_run_config, parse_run_config
from barnraise.corpora import corpus_of
from barnraise.corpus import Corpus
from barnraise.data_config import LocalData
from barnraise.digest import digest_bytes
from barnraise.identity import Identity
from barnraise.message import Signed
from barnraise.model_config import ByteLMConfig, CausalLMConfig
from barnraise.protocol import UpdateEnvelope
from barnraise.releases.repository import Repository
from barnraise.run_folder import RunFolder
from barnraise.update_config import CodecConfig
from barnraise.updates import Role, asked_carrier, write_update
from contributor.own_data import OwnData
from contributor.tasks import AtHand, make_task
from contributor.training.trainer import Trainer, Unit
from contributor.unit import Wanted, finish_unit
from coordinator.acceptance.heldout import HeldOut
from coordinator.acceptance.hidden import draws
from coordinator.conductor.conductor import Conductor
from coordinator.conductor.desk import Desk
from coordinator.conductor.pool import InlinePool
from coordinator.ledger.events import ContributorSeen, LeaseGranted, RunCreated, UpdateReceived
from coordinator.publish import Publisher
from fresh_ledger import fresh_ledger
from merge.architectures import build, flat_of, load_flat, space_of
from merge.compress import compress

__all__ = ["Simulation", "tiny_config"]

# One key, so one chain of seeds in all runs: its 65,536 links are hashed once, not for every release.
KEY = b"c" * 32
draws.anchor_after = cache(draws.anchor_after)

SHARDS = {"text": ["json", "csv", "string", "textwrap"], "tools": ["ast", "dis", "inspect", "tokenize"]}


def tiny_config(**changes: Any) -> RunConfig:
    """A run whose model trains in milliseconds."""
    value: dict[str, Any] = {
        "name": "tiny",
        "model": {"dim": 16, "layers": 1, "heads": 2, "hidden": 32, "context": 32},
        "data": {"shards": SHARDS, "held_out_percent": 30},
        "update": {"codec": {"name": "blockwise", "bits": 8}},
        "release": {"codec": {"name": "blockwise", "bits": 8}},
        "round": {"target_updates": 3, "min_updates": 2, "collect_for_s": 60, "lease_for_s": 60},
        "acceptance": {
            "check_examples": 16,
            "check_margin": 0.5,
            "tests": [
                {"name": "loss-text", "kind": "loss", "shard": "text", "examples": 24, "margin": 0.05},
                {"name": "loss-tools", "kind": "loss", "shard": "tools", "examples": 24, "margin": 0.05},
            ],
        },
    }
    return parse_run_config({**value, **changes}, source="the simulator")


@dataclass
class Clock:
    """Milliseconds that only a test moves."""

    now_ms: int = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


class Simulation:
    """One coordinator in a folder; may be crashed and started again on the same folder.

    Attributes:
        own: text that every contributor brings, where the run asks for it.
    """

    own: OwnData | None = None

    def __init__(self, root: Path, config: RunConfig | None = None, now_ms: int = Clock.now_ms) -> None:
        self.config = config or tiny_config()
        self.clock = Clock(now_ms)
        self.folder = RunFolder(root)
        self.folder.create()
        self.folder.config.write_text(as_toml(self.config.model_dump(mode="json")))
        self.ledger = fresh_ledger(self.folder.ledger)
        self.identity = Identity.from_seed(KEY)
        self.folder.key.write_text(KEY.hex())
        self.folder.key.chmod(0o600)
        self._found_run()
        self.start()

    @classmethod
    def of(cls, folder: RunFolder) -> Simulation:
        """A run that ``prepare_run`` has made, as it lies there; its clock stands where the run was made."""
        made = cls.__new__(cls)
        made.folder, made.config = folder, load_run_config(folder.config)
        made.ledger = fresh_ledger(folder.ledger)
        made.identity = Identity.load(folder.key)
        made.clock = Clock(made.ledger.events_after(0, 1)[0].at_ms)
        made.start()
        return made

    def start(self) -> None:
        """A new conductor on what is in the folder, as after a crash."""
        created = self.ledger.events_after(0, 1)[0].event
        assert isinstance(created, RunCreated)
        self.desk = Desk(self.folder.root, self.config, created.held_out_digest)
        self.pool = InlinePool()
        repository = Repository.found(self.folder, self.config.name, self.clock())
        publisher = Publisher(self.desk, self.ledger, repository, self.clock)
        self.conductor = Conductor(self.config, self.ledger, self.desk, publisher, self.pool, self.clock)
        self.conductor.recover()

    def ticks(self, count: int = 1) -> None:
        for _ in range(count):
            self.conductor.tick(0.0)

    def runs_until(self, phase: str, most: int = 400) -> None:
        """Tick until the newest round that ended did so in ``phase``."""
        for _ in range(most):
            self.ticks()
            if any(row.phase == phase for row in self.ledger.rounds()):
                return
        raise AssertionError([(row.number, row.phase, row.reason) for row in self.ledger.rounds()])

    def runs_until_tagged(self, version: str, most: int = 400) -> None:
        """Tick until a version is tagged."""
        for _ in range(most):
            self.ticks()
            if self.ledger.release(version) is not None:
                return
        raise AssertionError([(row.number, row.phase, row.reason) for row in self.ledger.rounds()])

    def side(self, name: str) -> bytes:
        """A file that travels with every release of a model that was begun from a folder."""
        assert isinstance(self.config.model, CausalLMConfig)
        return self.desk.public.read(self.config.model.files[name])

    def passes(self, seconds: float) -> None:
        self.clock.now_ms += int(seconds * 1000)

    def contributor(self, name: str, shard: str = "text") -> Contributor:
        return Contributor(self, name, shard, Identity.from_seed(digest_bytes(name.encode())[3:35].encode()))

    def _found_run(self) -> None:
        if self.ledger.run() is not None:
            return
        data = HeldOut.draw(corpus_of(self.config.data), self.config).serialise()
        held_out = Desk(self.folder.root, self.config, "").private.put(data)
        config = self.config.model_dump(mode="json")
        created = RunCreated(self.config.name, self.config.digest, config, self.identity.public, held_out)
        self.ledger.record(created, at_ms=self.clock())


@dataclass
class Contributor:
    """Someone who trains on a shard and whose updates reach the ledger without HTTP."""

    simulation: Simulation
    name: str
    shard: str
    identity: Identity
    fisher_P: NDArray[np.float32] | None = None  # of the last training

    def takes_lease(self) -> str:
        """A lease for the current round, as the gateway would grant it."""
        world = self.simulation
        world.ticks()
        current = world.ledger.current_round()
        assert current is not None
        lease = LeaseGranted(
            lease_id=digest_bytes(f"{self.name}/{current.number}".encode())[3:35],
            contributor=self.identity.public,
            round=current.number,
            base_version=current.base_version,
            base_digest=current.base_digest,
            shard=self.shard,
            nonce=digest_bytes(f"lease/{self.name}/{current.number}".encode())[3:35],
            issued_at_ms=world.clock(),
            expires_at_ms=world.clock() + int(world.config.round.lease_for_s * 1000),
        )
        seen = ContributorSeen(self.identity.public, self.name)
        world.ledger.record(seen, lease, at_ms=world.clock())
        return lease.lease_id

    def delivers(self, change: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None) -> str:
        """Train, compress and deliver; ``change`` may tamper with the delta first. Returns the digest."""
        lease_id = self.takes_lease()
        delta_P = self.trained()
        return self.sends(lease_id, self.encoded(change(delta_P) if change else delta_P))

    def trained(self, steps: int = 8) -> NDArray[np.float32]:
        world = self.simulation
        base = world.ledger.head()
        assert base is not None
        base_P = np.array(world.desk.models.verified(base.model_digest))
        at_hand = AtHand(len(self.name), world.side, world.own)
        trained_P, self.fisher_P = train(world.config, self.shard, base_P, steps, len(self.name), at_hand)
        return trained_P - base_P

    def noise(self) -> NDArray[np.float32]:
        """A change that says nothing and harms nothing, of this contributor's own; float32 [P]."""
        draws = np.random.default_rng(int(self.identity.public[:8], 16))
        noise_P: NDArray[np.float32] = draws.standard_normal(self.simulation.desk.space.size).astype(np.float32)
        return np.float32(1e-5) * noise_P

    def encoded(
        self,
        delta_P: NDArray[np.float32],
        base_digest: str | None = None,
        role: Role = "update",
        codec: CodecConfig | None = None,
        fisher: bool | None = None,
    ) -> bytes:
        world = self.simulation
        base = world.ledger.head()
        assert base is not None
        codec, space = codec or world.config.update.codec, world.desk.space
        base_digest = base_digest or base.model_digest
        if role == "patch":
            segments, _ = compress(torch.from_numpy(delta_P), space, codec)
            return write_update(space, base_digest, codec, segments, role=role)
        current = world.ledger.current_round()
        turn = current.number if current is not None else None
        carrier = asked_carrier(space, world.config.update, world.desk.mask, turn=turn)
        wanted = Wanted(space, base_digest, codec, carrier)
        fisher_P = None
        if world.config.update.fisher if fisher is None else fisher:
            assert self.fisher_P is not None, "nothing was trained yet"
            fisher_P = wanted.cut(self.fisher_P)
        return finish_unit(wanted, wanted.cut(delta_P), fisher_P).data

    def sends(self, lease_id: str, data: bytes) -> str:
        """Bytes in the store, then the row, as the gateway does it."""
        world = self.simulation
        lease = world.ledger.lease(lease_id)
        assert lease is not None
        digest = world.desk.private.put(data)
        envelope = UpdateEnvelope(
            run=world.config.name,
            lease_id=lease_id,
            round=lease.round,
            base_digest=lease.base_digest,
            update_digest=digest,
            size_bytes=len(data),
            tokens=1000,
            examples=8,
            steps=8,
            loss_first=8.0,
            loss_last=7.0,
            nonce=digest[3:35],
            at_ms=world.clock(),
        )
        received = UpdateReceived(
            digest=digest,
            contributor=self.identity.public,
            lease_id=lease_id,
            round=lease.round,
            base_digest=lease.base_digest,
            size_bytes=len(data),
            tokens=1000,
            steps=8,
            envelope=Signed.make(envelope, self.identity).model_dump(mode="json"),
        )
        world.ledger.record(received, at_ms=world.clock())
        return digest


def as_toml(value: dict[str, Any]) -> str:
    """A configuration as the file that ``barnraise serve`` would have been given."""
    return "".join(f"{key} = {_inline(item)}\n" for key, item in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items() if item is not None) + "}"
    return "[" + ", ".join(map(_inline, value)) + "]" if isinstance(value, list) else json.dumps(value)


def train(
    config: RunConfig,
    shard: str,
    base_P: NDArray[np.float32],
    steps: int,
    seed: int,
    at_hand: AtHand | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A few AdamW steps on a shard's examples; weights and second moments, float32 [P] each.

    Most runs here train the same model from the same base, and get the same: that is computed once.
    """
    if not isinstance(config.model, ByteLMConfig) or isinstance(config.data, LocalData):
        return _train_task(config, shard, base_P, steps, at_hand or AtHand(seed))
    text = _text(config, shard)
    what = (config.model.model_dump_json(), text, base_P.tobytes(), steps, seed)
    if what not in _TRAINED:
        _TRAINED[what] = _train_text(config.model, text, base_P, steps, seed)
    trained_P, moments_P = _TRAINED[what]
    return trained_P.copy(), moments_P.copy()


_TRAINED: dict[tuple[str, bytes, bytes, int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}


def _train_text(
    model: ByteLMConfig, examples: bytes, base_P: NDArray[np.float32], steps: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    module = build(model)
    space = space_of(module)
    load_flat(module, space, base_P)
    text = np.frombuffer(examples, dtype=np.uint8)
    draws = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.0)
    width = model.context + 1
    for _ in range(steps):
        starts = draws.integers(0, len(text) - width, 16)
        loss = module.loss(torch.from_numpy(np.stack([text[at : at + width] for at in starts])))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    moments = {name: optimiser.state[p]["exp_avg_sq"].numpy() for name, p in module.named_parameters()}
    return flat_of(module, space), space.flatten(moments)


def _train_task(
    config: RunConfig, shard: str, base_P: NDArray[np.float32], steps: int, at_hand: AtHand
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a node's trainer does, as the run's configuration says."""
    task = make_task(config.model, config.data, shard, at_hand)
    space = space_of(task.module())
    training = config.training.model_copy(update={"steps": steps})
    trainer = Trainer(Unit(task, space, base_P, training, at_hand.seed), torch.device("cpu"))
    while not trainer.done:
        trainer.step()
    return base_P + trainer.change(), trainer.fisher()


def _text(config: RunConfig, shard: str) -> bytes:
    return _cached_text(tuple(config.data.shards[shard]), config.data.held_out_percent)


@cache
def _cached_text(modules: tuple[str, ...], percent: int) -> bytes:
    config = tiny_config()
    data = config.data.model_copy(update={"shards": {"it": modules}, "held_out_percent": percent})
    return Corpus.of(data).text("it", "train")
