"""hivemind's blockwise 8-bit quantiser on the same values, in hivemind's own environment.

    PYTHON benchmarks/peers/hivemind_blockwise.py

Started by benchmarks/codec_speed.py. Reads one JSON object a line, ``{"values": FILE, "size": P,
"threads": N}``, compresses and extracts the P float32 of the file once, and answers seconds of
both, and the root of the mean squared error. What hivemind's ``extract`` does is written out: in
hivemind 1.1.12 it raises with numpy 2.4 and newer.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from bitsandbytes.functional import dequantize_blockwise
from hivemind.compression import BlockwiseQuantization, CompressionInfo


def answer(question: dict) -> dict:
    torch.set_num_threads(question["threads"])
    values = torch.from_numpy(np.fromfile(question["values"], np.float32, question["size"]))
    codec = BlockwiseQuantization()
    start = time.perf_counter()
    codec.compress(values, CompressionInfo.from_tensor(values))
    middle = time.perf_counter()
    codes, (largest, codebook) = codec.quantize(values)
    before = time.perf_counter()
    found = dequantize_blockwise(
        torch.from_numpy(codes),
        absmax=torch.from_numpy(largest),
        code=torch.from_numpy(codebook),
        blocksize=4096,
        nested=False,
    )
    end = time.perf_counter()
    error = float((found - values).square().mean().sqrt())
    return {"compress": middle - start, "extract": end - before, "error": error}


def main() -> None:
    print(json.dumps({"version": version("hivemind")}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
