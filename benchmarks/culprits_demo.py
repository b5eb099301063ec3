"""Does group testing find the poisoner of a demo whom the check of single updates did not stop?

    barnraise demo --into ./demo-run
    python benchmarks/culprits_demo.py ./demo-run [--write]

Every update that the check rejected is put back among those that its round merged, all of them with
the weights they had, and the round is searched as a conductor would: real updates of the demo's
model, merged by the run's own rules, on its own suite; and, because clipping alone may make one
poisoner harmless, once more without clipping. The run is only read.

``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import closing
from pathlib import Path

from report import arguments, finish, heading

from barnraise.config import load_run_config
from barnraise.message import BlobRef
from barnraise.narrate import short
from barnraise.releases.catalog import Catalog
from barnraise.releases.manifest import MergedUpdate
from barnraise.releases.source import FolderSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.run_folder import RunFolder
from coordinator.acceptance.blame.ancestry import Ancestry
from coordinator.acceptance.blame.culprits import CulpritSearch
from coordinator.acceptance.kept import KeptValues
from coordinator.acceptance.run_suite import RunOptions, run_suite
from coordinator.acceptance.supply import of_run
from coordinator.blame import Parts, Shop, known_again
from coordinator.conductor.merging import Bench
from coordinator.conductor.replay import Archive
from coordinator.ledger import Ledger, UpdateRow
from coordinator.models import ModelCache
from coordinator.remerge import PastMerge


def unclipped(archive: Archive) -> Archive:
    """The same rules but for clipping, which is as good as off."""

    def blob(ref: BlobRef) -> bytes:
        value = json.loads(archive.blob(ref))
        value["run"]["merge"]["clip_norm_at"] = 1e9
        return json.dumps(value).encode()

    return Archive(blob, archive.manifest)


def searched(shop: Shop, poison: UpdateRow, *, clips: bool) -> str:
    """A row of the table: the round of a rejected update, searched with it."""
    release = shop.ledger.release_of_round(poison.round)
    run = shop.ledger.run()
    assert release is not None
    assert release.parent is not None
    assert run is not None
    begin = time.monotonic()
    archive = Archive.of(shop.public, shop.ledger.releases())
    past = archive.past(release.version).merge
    assert past is not None
    added = MergedUpdate(
        digest=poison.digest,
        contributor=poison.contributor,
        size_bytes=poison.size_bytes,
        weight=max(update.weight for update in past.updates),
    )
    merge = PastMerge(
        past.version,
        past.made_from,
        tuple(sorted((*past.updates, added), key=lambda update: update.digest)),
        past.needs,
        past.config,
        past.round,
    )
    space = shop.ancestry.trunk_manifest(release.version).space
    bench = Bench(BlobStore(shop.scratch), ModelCache(shop.scratch / "models", space))
    bench.blobs.link_from(BlobStore(shop.folder.private), poison.digest)
    parent = known_again(shop, archive, bench, release.parent)
    parts = Parts(shop, archive if clips else unclipped(archive), bench, parent, merge)
    suite = load_run_config(shop.folder.config).acceptance
    supply = of_run(shop.folder, suite, run.held_out_digest)
    base = shop.ancestry.contender(release.parent)
    options = RunOptions(KeptValues(shop.scratch / "values"))

    def passes(subset: tuple[str, ...]) -> bool:
        made = parts.made_of(subset)
        verdict = run_suite(suite, made, base, supply.of, options).verdict
        parts.forget(made)
        assert verdict is not None
        print(
            f"round {poison.round}, {len(subset)} of {len(merge.updates)} updates: {verdict.reason[:200]}", flush=True
        )
        return verdict.passed

    cells: tuple[object, ...] = (poison.round, len(merge.updates), short(poison.digest), "on" if clips else "off")
    if passes(merge.digests):
        cells = (*cells, "passes with it", "-", "-", 1)
    else:
        search = CulpritSearch(merge.digests)
        while (subset := search.next_subset()) is not None:
            search.record(subset, passes(subset))
        found = ", ".join(short(update) for update in search.result())
        right = "yes" if search.result() == (poison.digest,) else "no"
        cells = (*cells, "fails with it", found, right, 1 + len(search.trials))
    return "| " + " | ".join(map(str, cells)) + f" | {time.monotonic() - begin:.0f} |"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("run", type=Path, help="folder of a demo")
    chosen = parser.parse_args()
    folder = RunFolder(chosen.run.resolve()).require()
    header = ("round", "updates", "rejected by the check", "clipping", "the round", "at fault", "right", "merges", "s")
    lines = [
        *heading("Finding the demo's poisoner without the check", "torch", "numpy"),
        "Updates of `barnraise demo`, merged and tested again in one process.",
        "",
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
    ]
    place = FolderSource(folder.public)
    index = read_index(place, TrustOptions.of(None)).index
    with closing(Ledger.open_reading(folder.ledger)) as ledger:
        for row in ledger.updates(state="rejected"):
            for clips in (True, False):
                with tempfile.TemporaryDirectory(prefix="barnraise-culprits-") as scratch:
                    ancestry = Ancestry(Catalog(place, index, BlobStore(Path(scratch) / "fetched")))
                    shop = Shop(folder, ledger, ancestry, Path(scratch) / "merged")
                    lines.append(searched(shop, row, clips=clips))
    finish("culprits_demo", lines, write=chosen.write)


if __name__ == "__main__":
    main()
