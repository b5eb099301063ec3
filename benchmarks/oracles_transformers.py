"""Does a pulled folder load in transformers as it is, and compute what our module computes?

    python benchmarks/oracles_transformers.py --peers PYTHON [--write]

A trunk is published, pulled as released, in shards, and converted, and each folder is opened in
the environment of ``--peers`` with AutoModelForCausalLM, AutoModel and AutoTokenizer, unchanged
and without any file of ours beside it. Logits are compared with those of our module, token
numbers with the bytes of the text. ``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from release_speed import Run
from report import arguments, finish, heading

import barnraise
from barnraise.model_config import ByteLMConfig
from barnraise.releases.installed import Form
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from merge.architectures import build, flat_of, load_flat, space_of

MODEL = ByteLMConfig(dim=128, layers=3, heads=4, hidden=320, context=128, init_seed=7)
TEXT = "def caf\u00e9(x):\n\treturn x  # \U0001f600\n"
FORMS = {
    "as released": Form(),
    "in shards": Form(shard_bytes=300_000),
    "bf16": Form("BF16"),
    "f16": Form("F16"),
    "bf16, in shards": Form("BF16", 150_000),
}
PEER = """
import json, sys, warnings
import torch, transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
for line in sys.stdin:
    asked = json.loads(line)
    model, told = AutoModelForCausalLM.from_pretrained(asked["folder"], output_loading_info=True)
    kind, stored = type(model).__name__, str(model.dtype)
    tokenizer = AutoTokenizer.from_pretrained(asked["folder"])
    ids = tokenizer(asked["text"]).input_ids
    with torch.no_grad():
        logits = model.float()(torch.tensor([ids])).logits[0]
    print(json.dumps({
        "version": transformers.__version__, "torch": torch.__version__, "kind": kind, "dtype": stored, "ids": ids,
        "text": tokenizer.decode(ids), "logits": logits.tolist(),
        "missing": sorted(told["missing_keys"]), "unexpected": sorted(told["unexpected_keys"]),
        "base": type(AutoModel.from_pretrained(asked["folder"])).__name__,
    }), flush=True)
"""


def ours(folder: Path) -> np.ndarray:
    """Logits of our module with the tensors in a folder, float32 [T, 256]."""
    module = build(MODEL)
    tensors = barnraise.load(folder, dtype="f32")
    space = space_of(module)
    load_flat(module, space, space.flatten({name: np.ascontiguousarray(tensors[name]) for name in tensors}))
    with torch.no_grad():
        logits: np.ndarray = module(torch.tensor([list(TEXT.encode())]))[0].numpy()
    return logits


def row(name: str, folder: Path, found: dict[str, Any], dtype: str | None) -> str:
    expected = ours(folder)
    difference = np.abs(np.array(found["logits"], dtype=np.float32) - expected).max()
    assert (found["missing"], found["unexpected"]) == ([], []), found
    assert found["ids"] == list(TEXT.encode()), found["ids"]
    assert found["text"] == TEXT
    assert found["dtype"] == {None: "torch.float32", "BF16": "torch.bfloat16", "F16": "torch.float16"}[dtype]
    assert difference < 1e-4 * np.abs(expected).max(), difference
    files = len(list(folder.glob("*.safetensors")))
    return f"| {name} | {files} | {found['kind']}, {found['base']} | {found['dtype']} | {difference:.1e} |"


def main() -> None:
    chosen = arguments(__doc__, peers="Python of an environment that has transformers").parse_args()
    if chosen.peers is None:
        raise SystemExit("transformers: not measured; say --peers PYTHON")
    with tempfile.TemporaryDirectory(prefix="barnraise-oracle-") as temporary:
        root = Path(temporary)
        for home in ("DATA", "CACHE"):
            os.environ[f"XDG_{home}_HOME"] = str(root / home.lower())
        module = build(MODEL)
        run = Run(root / "run", MODEL, space_of(module), [])
        run.release(flat_of(module, run.space), None, None)
        peer = subprocess.Popen([chosen.peers, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert peer.stdin is not None
        assert peer.stdout is not None
        rows, found = [], {}
        for name, form in FORMS.items():
            folder = root / "models" / name.replace(",", "").replace(" ", "-")
            pull(FolderSource(run.public), "speed-lm", folder, PullOptions(form=form))
            peer.stdin.write(json.dumps({"folder": str(folder), "text": TEXT}) + "\n")
            peer.stdin.flush()
            found = json.loads(peer.stdout.readline())
            rows.append(row(name, folder, found, form.dtype))
        peer.communicate()
    lines = [
        *heading(
            "A pulled folder in transformers",
            "torch",
            peer=f"there transformers {found['version']} with torch {found['torch']}",
        ),
        f"A byte-lm of {run.space.size:,} parameters, published, pulled in {len(FORMS)}",
        "forms, opened with AutoModelForCausalLM, AutoModel and AutoTokenizer as it is. No tensor was missing or left",
        "over, the tokens are the bytes of the text, and decoding gives the text back.",
        "",
        "| pulled | files | classes | type | largest difference of logits, computed in float32 |",
        "|---|---|---|---|---|",
        *rows,
    ]
    finish("oracles_transformers", lines, write=chosen.write)


if __name__ == "__main__":
    main()
