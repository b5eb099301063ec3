"""How much does a run store, and how fast do models go in and out?

    python benchmarks/storage.py [--quick] [--write] [--peers PYTHON]
                                 [--only trunk,speed,family] [--releases 100] [--elements 134217728]

trunk   a hundred releases of one run: contributors train, updates are compressed, merged and published by the
        run's own code; only evaluation is made up. Its folder beside a copy of every release (which is what a
        large-file store keeps) and beside those copies through zstandard.
speed   a model of 537 MB in float32, and one of 268 MB in bfloat16, both imported as fine-tunes of a trunk of
        134M parameters and pulled again, in turns with a plain copy of the same file, everything fsynced.
family  ten fine-tunes of one parent, each really trained from it in bfloat16 on text of its own.

What is measured is checked: every model that is read back is compared byte for byte.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from report import arguments, finish, heading
from storage_family import family
from storage_speed import speed
from storage_trunk import trunk

from barnraise.model_config import ByteLMConfig


def main() -> None:
    parser = arguments(__doc__, quick="tiny: shows that it works", peers="Python of an environment with git-theta")
    parser.add_argument("--only", default="trunk,speed,family")
    parser.add_argument("--releases", type=int, default=100)
    parser.add_argument("--steps", type=int, default=4, help="AdamW steps of an update in the trunk's run")
    parser.add_argument("--elements", type=int, default=134_217_728)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    chosen = parser.parse_args()
    tiny = ByteLMConfig(dim=64, layers=2, heads=2, hidden=128, context=64) if chosen.quick else None
    page = heading("What a run stores", "torch", "numpy", "zstandard")
    with tempfile.TemporaryDirectory(prefix="barnraise-storage-", dir=chosen.folder) as temporary:
        folder = Path(temporary)
        os.environ["XDG_DATA_HOME"] = str(folder / "data")
        wanted = chosen.only.split(",")
        if "trunk" in wanted:
            page += trunk(folder, 6 if chosen.quick else chosen.releases, 1 if chosen.quick else chosen.steps, tiny)
        if "speed" in wanted:
            elements = 1 << 20 if chosen.quick else chosen.elements
            page += speed(folder, elements, 1 if chosen.quick else chosen.repeats, chosen.peers)
        if "family" in wanted:
            page += family(folder, 3 if chosen.quick else 10, 2 if chosen.quick else 30, tiny)
    finish("storage", page, write=chosen.write)


if __name__ == "__main__":
    main()
