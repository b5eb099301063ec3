"""How much does a run store, and how fast do models go in and out?

    python benchmarks/storage.py [--quick] [--write] [--only trunk,speed,family] [--releases 100] [--elements 134217728]

trunk   a hundred releases of one run: contributors train, updates are compressed, merged and published by the
        run's own code; only evaluation is made up. Its folder beside a copy of every release (which is what a
        large-file store keeps) and beside those copies through zstandard.
speed   a model of 537 MB in float32, and one of 268 MB in bfloat16, both imported as fine-tunes of a trunk of
        134M parameters and pulled again, in turns with a plain copy of the same file, everything fsynced.
family  ten fine-tunes of one parent, each really trained from it in bfloat16 on text of its own.

What is measured is checked: every model that is read back is compared byte for byte.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray

from barnraise import native
from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.write import CheckpointWriter, plan_shards
from barnraise.clock import now_ms
from barnraise.config import ModelConfig, RunConfig, bundled_config, load_run_config
from barnraise.corpus import Corpus
from barnraise.digest import digest_bytes
from barnraise.releases.cache import Cache
from barnraise.releases.catalog import Catalog
from barnraise.releases.convert import Stored, narrow
from barnraise.releases.derived.imports import Imported, ImportRequest, import_model
from barnraise.releases.derived.names import find_model
from barnraise.releases.index import DerivedEntry, IndexEntry, ReleaseIndex
from barnraise.releases.keyframe import keyframe_size, write_keyframe
from barnraise.releases.manifest import Manifest
from barnraise.releases.plan import make_plan
from barnraise.releases.publish import store_blob, store_manifest, tensor_entries
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.rebuild import rebuild
from barnraise.releases.repository import Repository
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates import ParameterSpace, TensorSpec, model_digest, write_update
from coordinator.acceptance.evaluate import Scores
from coordinator.conductor.desk import Desk
from coordinator.conductor.merging import MergeJob, plan_inputs
from coordinator.conductor.pool import InlinePool
from coordinator.conductor.steps import merge_now
from coordinator.conductor.work import first_model
from coordinator.ledger import Ledger
from coordinator.ledger.events import (
    ContributorSeen,
    LeaseGranted,
    RoundOpened,
    RunCreated,
    UpdateChecked,
    UpdateReceived,
)
from coordinator.listing import index_of
from coordinator.publish import Publisher
from coordinator.round import Round, Tag
from merge.architectures import build, flat_of, load_flat
from merge.compress import compress

CONTRIBUTORS = 4
WINDOWS = 256
KEY = "{:064x}"
GIT_THETA = "git-theta 0.2.0, as measured elsewhere on 536 MB of float32: 20 MB/s in, 55 MB/s out"


# -- a trunk -------------------------------------------------------------------------------------


class Trainer:
    """A model that goes on learning, a few AdamW steps at a time, on text of its own."""

    def __init__(self, config: RunConfig, space: ParameterSpace, shard: str, seed: int) -> None:
        self.module = build(config.model)
        self.space = space
        self.text = np.frombuffer(Corpus.of(config.data).text(shard, "train"), dtype=np.uint8)
        self.draws = np.random.default_rng(seed)
        self.width = config.model.context + 1
        self.rate = config.training.learning_rate

    def trained(self, base_P: NDArray[np.float32], steps: int, rate: float | None = None) -> NDArray[np.float32]:
        """float32 [P], the weights after some steps from ``base_P``."""
        load_flat(self.module, self.space, base_P)
        optimiser = torch.optim.AdamW(self.module.parameters(), lr=rate or self.rate, betas=(0.9, 0.99))
        for _ in range(steps):
            starts = self.draws.integers(0, len(self.text) - self.width, 4)
            windows = np.stack([self.text[at : at + self.width] for at in starts])
            optimiser.zero_grad()
            self.module.loss(torch.from_numpy(windows)).backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            optimiser.step()
        return flat_of(self.module, self.space)


class Run:
    """A run's folder, driven without processes: what is stored is what ``barnraise serve`` would store."""

    def __init__(self, root: Path, config: RunConfig) -> None:
        self.config = config
        self.folder = RunFolder(root)
        self.folder.create()
        self.folder.config.write_bytes(bundled_config("stdlib-lm").read_bytes())
        self.ledger = Ledger.open(self.folder.ledger)
        held_out = BlobStore(self.folder.private).put(b"not drawn: evaluation is made up here")
        created = RunCreated(config.name, config.digest, config.model_dump(mode="json"), KEY.format(0), held_out)
        self.ledger.record(created, at_ms=now_ms())
        self.desk = Desk(root, config, held_out)
        self.publisher = Publisher(self.desk, self.ledger, Repository.found(self.folder, config.name, now_ms()), now_ms)
        self.trainers = [
            Trainer(config, self.desk.space, shard, seed)
            for seed, shard in enumerate(list(config.data.shards)[:CONTRIBUTORS])
        ]
        self.residuals = [np.zeros(self.desk.space.size, dtype=np.float32) for _ in self.trainers]
        first = first_model(self.desk)
        self._score(first.model_digest, 0)
        self.ledger.record(*self.publisher.first(first, now_ms()).events, at_ms=now_ms())
        self.publisher.write_index()

    def release(self, number: int, steps: int) -> None:
        """One round: train, compress, merge, tag, publish."""
        base = self.ledger.newest_release()
        assert base is not None
        current = Round(number, base.version, base.model_digest)
        self.ledger.record(RoundOpened(number, base.version, base.model_digest), at_ms=now_ms())
        base_P = np.array(self.desk.models.verified(base.model_digest))
        digests = [self._update(who, current, base_P, steps) for who in range(len(self.trainers))]
        job = MergeJob(
            base_digest=base.model_digest,
            inputs=plan_inputs(self.config.merge, [(digest, 1000) for digest in digests]),
            state_digest=base.state_digest,
            merge=self.config.merge,
            codec=self.config.release.codec,
        )
        candidate = merge_now(self.desk.bench, job, InlinePool(), 600.0).candidate
        self._score(candidate.model_digest, number)
        draft = self.publisher.draft(current, Tag(candidate, tuple(digests), now_ms()))
        self.ledger.record(*draft.events, at_ms=now_ms())
        self.publisher.write_index()
        head = self.ledger.head()
        assert head is not None
        self.desk.tidy(self.ledger.releases(), head)

    def _update(self, who: int, current: Round, base_P: NDArray[np.float32], steps: int) -> str:
        space, codec, decay = self.desk.space, self.config.update.codec, self.config.update.residual_decay
        wanted_P = self.trainers[who].trained(base_P, steps) - base_P + np.float32(decay) * self.residuals[who]
        segments, residual_P = compress(torch.from_numpy(wanted_P), space, codec)
        self.residuals[who] = residual_P.numpy()
        data = write_update(space, current.base_digest, codec, segments, role="update")
        digest, key = self.desk.private.put(data), KEY.format(who + 1)
        lease, nonce = digest_bytes(f"{who}/{current.number}".encode())[3:35], digest[3:35]
        self.ledger.record(
            ContributorSeen(key, f"contributor-{who}"),
            LeaseGranted(
                lease_id=lease,
                contributor=key,
                round=current.number,
                base_version=current.base_version,
                base_digest=current.base_digest,
                shard="text",
                nonce=lease,
                issued_at_ms=now_ms(),
                expires_at_ms=now_ms() + 60_000,
            ),
            UpdateReceived(
                digest,
                key,
                lease,
                current.number,
                current.base_digest,
                len(data),
                1000,
                steps,
                {"body": {"nonce": nonce}},
            ),
            UpdateChecked(digest, current.number, [0.0] * space.segment_count, "made up", {}),
            at_ms=now_ms(),
        )
        return digest

    def _score(self, digest: str, number: int) -> None:
        """Scores that get better with every release, so that the tests pass."""
        draws = np.random.default_rng(1)
        for shard in self.desk.shards_tested:
            bits = 5.0 + 0.1 * draws.standard_normal(WINDOWS) - 0.01 * number
            self.desk.keep_scores(digest, shard, Scores(bits_per_byte=bits, correct=bits < 4.95 + 0.001 * number))


def trunk(folder: Path, releases: int, steps: int, model: ModelConfig | None) -> list[str]:
    """Make a run of so many releases, and weigh its folder."""
    config = load_run_config(bundled_config("stdlib-lm"))
    config = config.model_copy(update={"model": model}) if model else config
    run = Run(folder / "run", config)
    began = time.perf_counter()
    for number in range(1, releases):
        run.release(number, steps)
    seconds = time.perf_counter() - began
    index = index_of(run.ledger, run.desk.public)
    catalog = Catalog(FolderSource(run.folder.root), index, run.desk.public)
    whole = keyframe_size(run.desk.space)
    zstd = []
    for entry in index.releases[:: max(1, releases // 10)]:
        flat_P = rebuild(catalog, make_plan(index, entry.version), catalog.manifest(entry))  # compares every tensor
        zstd.append(len(zstandard.ZstdCompressor(level=3).compress(write_keyframe(run.desk.space, flat_P))))
    parts = weigh(run, index)
    total = sum(parts[name] for name in ("keyframes", "patches", "documents"))
    lines = [
        f"## {releases} releases of one trunk",
        "",
        f"Model: {run.desk.space.size:,} parameters, {whole:,} bytes in float32. Every release merges {CONTRIBUTORS}",
        f"updates of {steps} AdamW steps each, with the settings of `configs/runs/stdlib-lm.toml` (patches: top "
        f"{config.release.codec.k} of 4,096,",
        f"a keyframe every {config.release.keyframe_every} releases). Of every tenth release all tensors were rebuilt "
        "and compared. Making them took",
        f"{seconds:.0f} s.",
        "",
        "| what is kept | bytes | times one release | times smaller than full copies |",
        "|---|---:|---:|---:|",
    ]
    full = releases * whole
    rows = [
        ("full copies, as a large-file store keeps them", full),
        (f"full copies through zstandard (level 3, mean of {len(zstd)})", round(releases * statistics.mean(zstd))),
        ("**all releases: keyframes, patches, documents**", total),
        ("of that: keyframes", parts["keyframes"]),
        ("of that: patches", parts["patches"]),
        ("of that: manifests, cards, lineage, reports", parts["documents"]),
        ("beside them: the merged contributions", parts["contributions"]),
        ("all public blobs, contributions too", parts["public"]),
        ("the whole folder: also ledger, lists, two newest optimiser states and models", parts["folder"]),
    ]
    lines += [f"| {what} | {size:,} | {size / whole:.2f} | {full / size:.1f} |" for what, size in rows]
    run.ledger.close()
    return [*lines, ""]


def weigh(run: Run, index: ReleaseIndex) -> dict[str, int]:
    """Bytes by what they are for."""
    keyframes = {entry.keyframe.digest: entry.keyframe.size_bytes for entry in index.releases if entry.keyframe}
    patches = {entry.patch.digest: entry.patch.size_bytes for entry in index.releases if entry.patch}
    updates = {row.digest: row.size_bytes for row in run.ledger.updates(state="merged")}
    public = sum(blob.size_bytes for blob in run.desk.public.stored())
    parts = {"keyframes": sum(keyframes.values()), "patches": sum(patches.values())}
    files = {(found.st_dev, found.st_ino): found.st_size for found in map(os.stat, every_file(run.folder.root))}
    return {
        **parts,
        "contributions": sum(updates.values()),
        "documents": public - sum(parts.values()) - sum(updates.values()),
        "public": public,
        "folder": sum(files.values()),
    }


def every_file(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())


# -- a family ------------------------------------------------------------------------------------


@dataclass
class Family:
    """A published run with one release, and models derived from it."""

    folder: RunFolder
    space: ParameterSpace
    index: ReleaseIndex

    @classmethod
    def at(cls, root: Path, space: ParameterSpace, flat_P: NDArray[np.float32]) -> Family:
        folder = RunFolder(root)
        folder.create()
        folder.config.write_bytes(bundled_config("stdlib-lm").read_bytes())
        store = BlobStore(folder.public)
        whole = store_blob(store, write_keyframe(space, flat_P))
        document = store_blob(store, b"{}")
        manifest = Manifest(
            name="trunk",
            version="0.1.0",
            parent=None,
            model_digest=model_digest(space, space.tensor_digests(flat_P)),
            tensors=tensor_entries(space, flat_P),
            model=ModelConfig(),
            keyframe=whole,
            patch=None,
            acceptance=document,
            config=document,
            card=document,
            lineage=document,
            files=(),
            updates=(),
            licence="Apache-2.0",
            round=0,
            bump="first",
            reason="made up",
            supported_tests=(),
            created_at_ms=1,
        )
        entry = IndexEntry(
            version="0.1.0",
            model_digest=manifest.model_digest,
            manifest=store_manifest(store, manifest),
            parent=None,
            keyframe=whole,
            patch=None,
        )
        family = cls(folder, space, ReleaseIndex(name="trunk", releases=(entry,)))
        family.publish()
        return family

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.folder.public)

    def publish(self) -> None:
        Repository.found(self.folder, "trunk", now_ms()).publish(self.index, now_ms())

    def imports(self, path: Path, name: str) -> Imported:
        """Store and list a fine-tune of the trunk."""
        catalog = Catalog(FolderSource(self.folder.root), self.index, self.store)
        parent = self.index.releases[0]
        request = ImportRequest(path, name, find_model(self.index, "trunk"), at_ms=1)
        done = import_model(request, catalog, self.store, depth_most=64)
        entry = DerivedEntry(
            name=name,
            version=done.manifest.version,
            model_digest=done.manifest.model_digest,
            manifest=done.blob,
            parent_name="trunk",
            parent_version=parent.version,
        )
        self.index = self.index.model_copy(update={"derived": (*self.index.derived, entry)})
        self.publish()
        return done

    def pulls(self, name: str, into: Path, cache: Path) -> None:
        """As a consumer pulls whose cache has the parent and nothing of the child."""
        pull(FolderSource(self.folder.root), name, into, PullOptions(cache=Cache(cache, 1 << 40)))


def save(path: Path, space: ParameterSpace, flat_P: NDArray[np.float32], dtype: Stored) -> Path:
    """A safetensors file of a model, in a folder."""
    path.mkdir()
    specs = [TensorSpec(spec.name, spec.shape, dtype) for spec in space.tensors]
    views = space.unflatten(flat_P)
    with CheckpointWriter(path, specs, plan_shards(specs, 1 << 40)) as writer:
        for spec in specs:
            writer.put(spec.name, 0, np.ascontiguousarray(narrow(views[spec.name].reshape(-1), dtype)))
        writer.finish()
    return path


def compare(one: Path, other: Path) -> None:
    """Stop unless both folders hold the same tensors, byte for byte."""
    first, second = Checkpoint.open(one), Checkpoint.open(other)
    assert list(first.tensors) == list(second.tensors)
    for name, tensor in first.tensors.items():
        assert np.array_equal(first.block(name, 0, tensor.size), second.block(name, 0, tensor.size)), name


def family(folder: Path, children: int, steps: int, model: ModelConfig | None) -> list[str]:
    """Fine-tunes of one parent, stored together."""
    config = load_run_config(bundled_config("stdlib-lm"))
    config = config.model_copy(update={"model": model}) if model else config
    shards = list(config.data.shards)
    module = build(config.model)
    desk_space = ParameterSpace.of(
        TensorSpec(name, tuple(parameter.shape)) for name, parameter in module.named_parameters()
    )
    base_P = Trainer(config, desk_space, shards[0], 0).trained(flat_of(module, desk_space), 10 * steps)
    kin = Family.at(folder / "family", desk_space, base_P)
    start_P = torch.from_numpy(base_P).bfloat16().float().numpy()
    rows, total, stored = [], 0, 0
    before = sum(blob.size_bytes for blob in kin.store.stored())
    for number in range(children):
        tuned_P = Trainer(config, desk_space, shards[number % len(shards)], 10 + number).trained(start_P, steps, 2e-5)
        path = save(folder / f"child-{number}", desk_space, tuned_P, "BF16")
        kin.imports(path, f"child-{number}")
        size = Checkpoint.open(path).size_bytes
        now = sum(blob.size_bytes for blob in kin.store.stored())
        rows.append(f"| child-{number} | {size:,} | {now - before:,} | {size / (now - before):.1f} |")
        total, stored, before = total + size, stored + now - before, now
        kin.pulls(f"child-{number}", folder / "pulled", folder / "cache")
        compare(path, folder / "pulled")
    return [
        f"## {children} fine-tunes of one parent",
        "",
        f"{desk_space.size:,} parameters; each child is {steps} AdamW steps at 2e-5 from the parent rounded to "
        "bfloat16, in float32, on a domain",
        "of its own, saved in bfloat16; imported against the float32 parent, pulled again and compared.",
        "",
        "| model | bytes of its own | bytes stored for it | times fewer |",
        "|---|---:|---:|---:|",
        *rows,
        f"| **all children** | {total:,} | {stored:,} | {total / stored:.1f} |",
        "",
    ]


# -- speed ---------------------------------------------------------------------------------------


def layered(elements: int) -> ParameterSpace:
    """A decoder's tensors: an embedding, and layers of matrices with small vectors between them."""
    width = 768
    specs = [TensorSpec("embed.weight", (32000, width))]
    filled, layer = specs[0].size, 0
    while filled < elements:
        matrices = {
            "attn.q": width,
            "attn.k": width,
            "attn.v": width,
            "attn.o": width,
            "mlp.up": 2048,
            "mlp.gate": 2048,
        }
        made = [TensorSpec(f"layers.{layer}.{name}.weight", (rows, width)) for name, rows in matrices.items()]
        made += [TensorSpec(f"layers.{layer}.mlp.down.weight", (width, 2048))]
        made += [TensorSpec(f"layers.{layer}.norm{number}.weight", (width,)) for number in (1, 2)]
        specs += made
        filled, layer = filled + sum(spec.size for spec in made), layer + 1
    return ParameterSpace.of(specs)


def weights(space: ParameterSpace) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A made-up trunk, and a fine-tune of its bfloat16 rounding: changes as a few hundred AdamW steps leave them."""
    draws = np.random.default_rng(0)
    base_P = draws.standard_normal(space.size, dtype=np.float32) * np.float32(0.02)
    start_P = torch.from_numpy(base_P).bfloat16().float().numpy()
    change_P = draws.standard_normal(space.size, dtype=np.float32) * np.float32(4e-5)
    return base_P, start_P + change_P


def copied(source: Path, target: Path) -> None:
    """What storing a model costs at least: a copy of its file on the disk."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def timed(job: Callable[[], object]) -> float:
    os.sync()
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def speed(folder: Path, elements: int, repeats: int) -> list[str]:
    """Imports and pulls beside plain copies, in turns."""
    space = layered(elements)
    base_P, tuned_P = weights(space)
    lines = [
        "## How fast models go in and out",
        "",
        f"A made-up decoder of {space.size:,} parameters in {len(space.tensors)} tensors. In: `import_model`, which",
        "hashes every tensor, decodes again what it stored, compares, and fsyncs. Out: `pull` with the parent in the",
        "cache, which fetches, decodes, verifies every tensor, writes and fsyncs. Medians of "
        f"{repeats} turns; in brackets the",
        f"fastest. {GIT_THETA}.",
        "",
        "| model | MB | stored MB | in MB/s | out MB/s | copy MB/s | in / copy | out / copy |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    kin = Family.at(folder / "trunk", space, base_P)
    pull(FolderSource(kin.folder.root), "trunk", folder / "parent", PullOptions(cache=Cache(folder / "cache", 1 << 40)))
    shutil.rmtree(folder / "parent")
    for dtype in ("BF16", "F32"):
        path = save(folder / f"child-{dtype}", space, tuned_P, dtype)  # type: ignore[arg-type]
        file = next(path.glob("*.safetensors"))
        lines.append(one_speed(kin, file, folder, repeats, dtype))
        shutil.rmtree(path)
    return [*lines, ""]


def one_speed(kin: Family, file: Path, folder: Path, repeats: int, dtype: str) -> str:
    size = Checkpoint.open(file).size_bytes
    ins, outs, copies, stored = [], [], [], 0
    empty = kin.index
    before = {blob.digest for blob in kin.store.stored()}
    for turn in range(repeats):
        copies.append(timed(lambda: copied(file, folder / "copy")))
        ins.append(timed(lambda: kin.imports(file, "child")))
        own = {blob.digest: blob.size_bytes for blob in kin.store.stored() if blob.digest not in before}
        stored = sum(own.values())
        cache = Cache(folder / "cache", 1 << 40)
        outs.append(timed(lambda: kin.pulls("child", folder / "pulled", folder / "cache")))
        if turn == 0:
            compare(file.parent, folder / "pulled")
        shutil.rmtree(folder / "pulled")
        kin.index = empty
        for digest in own:  # the next turn begins where this one did
            kin.store.delete(digest)
            cache.store.delete(digest)
    name = {"BF16": "bfloat16 fine-tune", "F32": "float32 fine-tune"}[dtype]
    rates = [
        f"{size / 1e6 / statistics.median(times):,.0f} ({size / 1e6 / min(times):,.0f})"
        for times in (ins, outs, copies)
    ]
    ratios = [f"{statistics.median(c / t for c, t in zip(copies, times, strict=True)):.2f}" for times in (ins, outs)]
    return f"| {name} | {size / 1e6:,.0f} | {stored / 1e6:,.1f} | {' | '.join(rates)} | {' | '.join(ratios)} |"


# -- the page ------------------------------------------------------------------------------------


def machine() -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    width = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "unknown"
    model = next((line.split(":")[1].strip() for line in flags.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = f"{os.cpu_count()} cores ({model or platform.machine()}, {width})"
    return f"{cores}, {memory:.0f} GB, load {os.getloadavg()[0]:.1f} at the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it works, and nothing else")
    parser.add_argument("--write", action="store_true", help="leave a dated file in benchmarks/results/")
    parser.add_argument("--only", default="trunk,speed,family")
    parser.add_argument("--releases", type=int, default=100)
    parser.add_argument("--steps", type=int, default=4, help="AdamW steps of an update in the trunk's run")
    parser.add_argument("--elements", type=int, default=134_217_728)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    chosen = parser.parse_args()
    tiny = ModelConfig(dim=64, layers=2, heads=2, hidden=128, context=64) if chosen.quick else None
    began, text = machine(), []
    with tempfile.TemporaryDirectory(prefix="barnraise-storage-", dir=chosen.folder) as temporary:
        folder = Path(temporary)
        os.environ["XDG_DATA_HOME"] = str(folder / "data")
        wanted = chosen.only.split(",")
        if "trunk" in wanted:
            text += trunk(folder, 6 if chosen.quick else chosen.releases, 1 if chosen.quick else chosen.steps, tiny)
        if "speed" in wanted:
            elements = 1 << 20 if chosen.quick else chosen.elements
            text += speed(folder, elements, 1 if chosen.quick else chosen.repeats)
        if "family" in wanted:
            text += family(folder, 3 if chosen.quick else 10, 2 if chosen.quick else 30, tiny)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    versions = f"torch {torch.__version__}, numpy {np.__version__}, zstandard {zstandard.__version__}"
    loops = "compiled loops" if native.available() else "no compiled loops"
    page = [
        f"# What a run stores, {today}",
        "",
        f"`python benchmarks/storage.py` on {began}; Python {platform.python_version()}, {versions}, {loops}, "
        f"{native.threads()} threads.",
        "",
        *text,
    ]
    print("\n".join(page))
    if chosen.write:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / f"storage-{today}.md").write_text("\n".join(page).rstrip() + "\n")


if __name__ == "__main__":
    main()
