"""ZipNN on the same bytes, in its own environment.

    PYTHON benchmarks/peers/zipnn_tensors.py

Started by benchmarks/lossless.py. Reads one JSON object a line, ``{"data": FILE, "base": FILE or
null, "dtype": "bfloat16" or "float32", "threads": N}``, compresses and decompresses the bytes once,
and answers sizes and seconds on the wall and of processors.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path


def answer(question: dict) -> dict:
    from zipnn import ZipNN  # only now that its warnings are off

    data = Path(question["data"]).read_bytes()
    base = Path(question["base"]).read_bytes() if question["base"] else None
    kinds = {"delta_compressed_type": "byte"} if base else {}
    coder = ZipNN(input_format="byte", bytearray_dtype=question["dtype"], threads=question["threads"], **kinds)
    beside = {"delta_second_data": base} if base else {}
    given = bytearray(data)  # ZipNN may work in place
    clocks = [(time.perf_counter(), time.process_time())]
    packed = bytes(coder.compress(given, **beside))
    clocks.append((time.perf_counter(), time.process_time()))
    found = coder.decompress(packed, **beside)
    clocks.append((time.perf_counter(), time.process_time()))
    encode, decode = ([after - before for before, after in zip(*pair, strict=True)] for pair in pairwise(clocks))
    return {"size": len(packed), "encode": encode, "decode": decode, "right": bytes(found) == data}


def main() -> None:
    warnings.simplefilter("ignore")
    print(json.dumps({"version": version("zipnn")}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
