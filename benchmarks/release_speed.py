"""What does a patch release cost to fetch and to apply, and how fast are verifying and installing?

    python benchmarks/release_speed.py [--quick] [--write] [--into DIR]

Ways to do one job take turns, so that a disturbance falls on everybody; ratios are medians of
pairs of one turn. Verifying stands beside BLAKE3 over the same mapped file, installing beside a
plain copy of the file with fsync, applying beside a copy in memory. Sizes of patches: a made-up
change of a large model, heavy-tailed chunk by chunk, and a real one, of the shipped model after
one unit of training. ``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report import arguments, finish, heading
from settings import TOPK_256
from turns import Job, Timings, seconds, take_turns

import barnraise
from barnraise import native
from barnraise.clock import now_ms
from barnraise.config import load_run_config
from barnraise.corpus import Corpus
from barnraise.digest import canonical_json, digest_file
from barnraise.message import BlobRef
from barnraise.model_config import ByteLMConfig
from barnraise.releases.card import CardFacts, render_card
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.installed import Content, Form, Installed, install, of_flat
from barnraise.releases.keyframe import write_keyframe
from barnraise.releases.layout import side_files
from barnraise.releases.lineage import Lineage, LineageChange, LineageParent, measure_change
from barnraise.releases.manifest import Manifest, ParentRef, ReleaseFile
from barnraise.releases.publish import store_blob, store_manifest, tensor_entries
from barnraise.releases.repository import Repository
from barnraise.releases.store import BlobStore
from barnraise.releases.verify import verify_folder
from barnraise.run_folder import RunFolder
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, Update, apply_update, write_update
from barnraise.updates.space import model_digest
from merge.architectures import build, ecosystem_files, flat_of, space_of
from merge.compress import compress

NAME = "speed-lm"
FULL = ByteLMConfig(dim=1024, layers=9, heads=16, hidden=2816, context=512)
QUICK = ByteLMConfig(dim=512, layers=4, heads=8, hidden=1408, context=512)
TESTS = {"loss": {"mean": 3.0, "base_mean": 3.1, "effect": -0.1, "low": -0.2, "high": 0.0, "supported": True}}


# -- a published run -----------------------------------------------------------------------


@dataclass
class Run:
    """Releases of one model in a folder, published as a coordinator does it."""

    root: Path
    model: ByteLMConfig
    space: ParameterSpace
    entries: list[IndexEntry]

    @property
    def public(self) -> Path:
        return RunFolder(self.root).public

    def release(self, flat_P: NDArray[np.float32], parent_P: NDArray[np.float32] | None, patch: bytes | None) -> None:
        """Publish a model: whole if it has no parent, else as a patch."""
        store, parent = BlobStore(self.public), self.entries[-1] if self.entries else None
        version = f"0.1.{len(self.entries)}"
        tensors = tensor_entries(self.space, flat_P)
        digest = model_digest(self.space, [tensor.digest for tensor in tensors])
        lineage = self._lineage(version, digest, measure_change(self.space, parent_P, flat_P))
        manifest = Manifest(
            name=NAME,
            version=version,
            parent=ParentRef(version=parent.version, model_digest=parent.model_digest) if parent else None,
            model_digest=digest,
            tensors=tensors,
            model=self.model,
            keyframe=store_blob(store, write_keyframe(self.space, flat_P)) if patch is None else None,
            patch=store_blob(store, patch) if patch is not None else None,
            acceptance=store_blob(store, canonical_json({"tests": TESTS})),
            config=store_blob(store, canonical_json({"run": {}})),
            card=store_blob(store, self._card(lineage)),
            lineage=store_blob(store, lineage.canonical()),
            files=tuple(ReleaseFile(name=n, blob=store_blob(store, d)) for n, d in ecosystem_files(self.model).items()),
            updates=(),
            licence="Apache-2.0",
            round=len(self.entries),
            bump="patch" if parent else "first",
            reason="measured",
            supported_tests=("loss",),
            created_at_ms=now_ms(),
        )
        self._publish(manifest, store_manifest(store, manifest))

    def _publish(self, manifest: Manifest, blob: BlobRef) -> None:
        self.entries.append(
            IndexEntry(
                version=manifest.version,
                model_digest=manifest.model_digest,
                manifest=blob,
                parent=manifest.parent.version if manifest.parent else None,
                keyframe=manifest.keyframe,
                patch=manifest.patch,
            )
        )
        index = ReleaseIndex(name=NAME, releases=tuple(self.entries), channels={"nightly": manifest.version})
        Repository.found(RunFolder(self.root), NAME, now_ms()).publish(index, now_ms())

    def _lineage(self, version: str, digest: str, change: LineageChange) -> Lineage:
        parents = [
            LineageParent(relation="base", name=NAME, version=entry.version, model_digest=entry.model_digest)
            for entry in self.entries[-1:]
        ]
        return Lineage.read(
            {
                "name": NAME,
                "version": version,
                "model_digest": digest,
                "parents": [parent.model_dump() for parent in parents],
                "round": len(self.entries),
                "merged_by": ["mean"] if parents else [],
                "updates": [],
                "bump": "patch" if parents else "first",
                "reason": "measured",
                "change": change.model_dump(),
            }
        )

    def _card(self, lineage: Lineage) -> bytes:
        model = self.model.model_dump(mode="json")
        return render_card(
            CardFacts(lineage, "A model to measure with", "Apache-2.0", now_ms(), TESTS, (), model, {}, "nothing", True)
        )


def drawn_change(space: ParameterSpace, seed: int) -> torch.Tensor:
    """float32 [P], heavy-tailed, each chunk with a scale of its own."""
    draws = torch.Generator().manual_seed(seed)
    change = torch.randn(space.size, generator=draws)
    for start in range(0, space.size, 4096):
        change[start : start + 4096] *= torch.rand(1, generator=draws) * 1e-3
    return change


def patch_of(space: ParameterSpace, base_digest: str, change_P: torch.Tensor, k: int) -> bytes:
    codec = CodecConfig(name="topk", k=k)
    return write_update(space, base_digest, codec, compress(change_P, space, codec)[0], role="patch")


def real_patch(k: int) -> tuple[int, int]:
    """Bytes of a patch, and of the model: the shipped one after one unit of 12 steps."""
    config = load_run_config(TOPK_256)
    module, training = build(config.model), config.training
    space = space_of(module)
    before_P = flat_of(module, space)
    text = Corpus.of(config.data).text(next(iter(config.data.shards)), "train")
    draws = np.random.default_rng(0)
    betas = (training.beta1, training.beta2)
    optimiser = torch.optim.AdamW(module.parameters(), lr=training.learning_rate, betas=betas)
    for _ in range(training.steps):
        starts = draws.integers(0, len(text) - config.model.context - 1, training.batch)
        windows = np.stack([np.frombuffer(text, np.uint8)[s : s + config.model.context + 1] for s in starts])
        optimiser.zero_grad()
        module.loss(torch.from_numpy(windows)).backward()
        optimiser.step()
    change_P = torch.from_numpy(flat_of(module, space) - before_P)
    digest = model_digest(space, space.tensor_digests(before_P))
    return len(patch_of(space, digest, change_P, k)), 4 * space.size


# -- questions -----------------------------------------------------------------------------


def table(what: str, timings: Timings, size_bytes: int) -> list[str]:
    """Rows of speeds; the last job is what the others are compared with."""
    *_, reference = timings
    lines = [
        f"| {what} | ms | fastest | GB/s | times the speed of {reference} | in processor time |",
        "|---|" + "---|" * 5,
    ]
    for name, found in timings.items():
        pairs = list(zip(found, timings[reference], strict=True))
        wall, busy = (statistics.median(theirs[i] / max(ours[i], 1e-9) for ours, theirs in pairs) for i in (0, 1))
        middle, fastest = statistics.median(one for one, _ in found), min(one for one, _ in found)
        speed = f"{1e3 * middle:.0f} | {1e3 * fastest:.0f} | {1e-9 * size_bytes / middle:.2f}"
        lines.append(f"| {name} | {speed} | {wall:.2f} | {busy:.2f} |")
    return [*lines, ""]


def copied(source: Path, target: Path) -> None:
    """A plain copy that survives a power cut, as an installed release does."""
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def fetching(run: Run, patches: dict[int, bytes]) -> list[str]:
    model_bytes = 4 * run.space.size
    lines = ["| patch | bytes | of the whole model |", "|---|---|---|"]
    for k, patch in patches.items():
        share = len(patch) / model_bytes
        lines.append(f"| {run.space.size / 1e6:.0f}M, made up, {k} of 4096 | {len(patch):,} | {share:.2%} |")
    for k in patches:
        patch_bytes, whole = real_patch(k)
        lines.append(f"| {whole / 4e6:.1f}M, trained, {k} of 4096 | {patch_bytes:,} | {patch_bytes / whole:.2%} |")
    return [*lines, "", "The goal is under 3%.", ""]


def applying(run: Run, base_P: NDArray[np.float32], patches: dict[int, bytes], repeats: int) -> list[str]:
    out_P = np.empty_like(base_P)
    base = run.entries[0].model_digest

    def applied(patch: bytes) -> NDArray[np.float32]:
        return apply_update(base_P, Update.parse(patch, run.space, base_digest=base), out=out_P)

    jobs: dict[str, Job] = {f"{k} of 4096": partial(applied, patch) for k, patch in patches.items()}
    jobs["copy"] = lambda: np.copyto(out_P, base_P)
    lines = table("apply a patch in memory", take_turns(jobs, repeats), base_P.nbytes)
    return [*lines, "The goal is 1 GB/s of weights.", ""]


def pulling(run: Run, into: Path, repeats: int) -> list[str]:
    """A patch release into a folder that holds its parent: verified before and after, written, fsynced."""
    source, model_bytes = str(run.public), 4 * run.space.size
    copy = into.with_name("copy")

    def reset() -> None:
        barnraise.pull(f"{NAME}@0.1.0", into, source=source)

    reset()
    whole = into / "model.safetensors"
    jobs: dict[str, Job] = {
        "pull 0.1.1": lambda: barnraise.pull(f"{NAME}@0.1.1", into, source=source),
        "copy with fsync": lambda: copied(whole, copy),
    }
    taken = take_turns(jobs, repeats, before=reset)
    reset()
    again = 1e3 * statistics.median(seconds(reset)[0] for _ in range(repeats))
    copy.unlink()
    lines = table("a patch release, from parent to installed", taken, model_bytes)
    return [*lines, f"Pulling what is there already: {again:.0f} ms, with hashing all of it.", ""]


def verifying(run: Run, into: Path, repeats: int) -> list[str]:
    whole = into / "model.safetensors"
    jobs: dict[str, Job] = {
        "verify the folder": lambda: verify_folder(into),
        "hash its tensors": lambda: Installed.open(into).check(),
        "BLAKE3 of the mapped file": lambda: digest_file(whole),
    }
    lines = table(f"verify {len(run.space.tensors)} tensors", take_turns(jobs, 3 * repeats), whole.stat().st_size)
    return [*lines, "The goal is 0.80 of the speed of hashing.", ""]


def installing(run: Run, into: Path, repeats: int) -> list[str]:
    there = Installed.read(into)
    side = {name: there.side(name) or b"" for name in side_files(there.manifest)}
    content = Content(there.manifest, there.release, of_flat(run.space, there.flat()), side, there.provenance)
    target, copy = into.with_name("installed"), into.with_name("copy")
    jobs: dict[str, Job] = {
        "install": lambda: install(target, content),
        "install in shards of 100 MB": lambda: install(target, content, Form(shard_bytes=100_000_000)),
        "install as bf16": lambda: install(target, content, Form("BF16")),
        "install as f16": lambda: install(target, content, Form("F16")),
        "copy with fsync": lambda: copied(into / "model.safetensors", copy),
    }
    lines = table("install", take_turns(jobs, repeats), 4 * run.space.size)
    shutil.rmtree(target)
    copy.unlink()
    return lines


def loading(into: Path, repeats: int) -> list[str]:
    jobs: dict[str, Job] = {
        "barnraise.load": lambda: barnraise.load(into),
        "barnraise.load(verify=False)": lambda: barnraise.load(into, verify=False),
        "the same, framework='torch'": lambda: barnraise.load(into, "torch", verify=False),
        "BLAKE3 of the mapped file": lambda: digest_file(into / "model.safetensors"),
    }
    return table("load", take_turns(jobs, repeats), (into / "model.safetensors").stat().st_size)


def measured(root: Path, model: ByteLMConfig, repeats: int) -> list[str]:
    module = build(model)
    run = Run(root / "run", model, space_of(module), [])
    base_P = flat_of(module, run.space)
    del module
    run.release(base_P, None, None)
    change_P = drawn_change(run.space, 0)
    patches = {k: patch_of(run.space, run.entries[0].model_digest, change_P, k) for k in (64, 256)}
    next_P = apply_update(base_P, Update.parse(patches[64], run.space, base_digest=run.entries[0].model_digest))
    run.release(next_P, base_P, patches[64])
    del next_P, change_P
    into = root / "model"
    lines = fetching(run, patches)
    for part in (
        lambda: applying(run, base_P, patches, repeats),
        lambda: pulling(run, into, repeats),
        lambda: verifying(run, into, repeats),
        lambda: installing(run, into, repeats),
        lambda: loading(into, repeats),
    ):
        lines += part()
        print("\n".join(lines[-10:]), file=sys.stderr, flush=True)
    return lines


def main() -> None:
    parser = arguments(__doc__, quick="a smaller model, three turns")
    parser.add_argument("--into", type=Path, help="folder on the disk to measure; some gigabytes are needed")
    chosen = parser.parse_args()
    torch.set_num_threads(native.threads())
    with tempfile.TemporaryDirectory(prefix="barnraise-speed-", dir=chosen.into) as folder:
        for home in ("DATA", "CACHE"):
            os.environ[f"XDG_{home}_HOME"] = f"{folder}/{home.lower()}"
        lines = heading("Speed of releases", "torch", "numpy")
        lines += measured(Path(folder), QUICK if chosen.quick else FULL, 3 if chosen.quick else 7)
    finish("release_speed", lines, write=chosen.write)


if __name__ == "__main__":
    main()
