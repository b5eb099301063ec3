"""The fixed parts of the experiment: eight domains of text, held-out windows, the model's space.

N  held-out windows
T  the model's context
P  elements in the whole parameter space
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.corpus import Corpus
from barnraise.data_config import StdlibData
from benchmarks.convergence.arms import Scale
from merge.architectures import build, flat_of, load_flat, space_of

__all__ = ["SHARDS", "World", "parameters_of"]

SHARDS = {
    "concurrency": "asyncio concurrent multiprocessing threading queue selectors subprocess socket ssl sched signal "
    "socketserver",
    "markup": "email html xml json csv mailbox configparser plistlib mimetypes string textwrap gettext locale argparse "
    "optparse",
    "tools": "unittest doctest pdb pydoc ast inspect dis tokenize trace pickletools cProfile profile pstats timeit bdb "
    "cmd code traceback typing dataclasses enum functools",
    "windows": "idlelib tkinter turtle",
    "packaging": "distutils importlib lib2to3 ensurepip venv zipfile tarfile zipimport pkgutil",
    "network": "http urllib xmlrpc wsgiref ftplib smtplib imaplib poplib nntplib telnetlib ipaddress cgi uuid asyncore "
    "smtpd webbrowser logging cgitb",
    "system": "ctypes os shutil pathlib tempfile posixpath ntpath platform _pyio curses glob fileinput sysconfig "
    "getpass dbm shelve sqlite3 site pickle copy gzip bz2 lzma codecs re difflib collections aifc wave warnings "
    "weakref contextlib types",
    "numbers": "_pydecimal fractions statistics random datetime calendar heapq colorsys encodings _strptime numbers "
    "stringprep",
}


class World:
    """Text and model, built once; every run of every arm uses the same.

    Attributes:
        texts: training text of each domain, equally long.
        space: of the model.
    """

    def __init__(self, scale: Scale, shards: Mapping[str, Sequence[str]] | None = None) -> None:
        """Of the first of ``SHARDS``, or of the first of others: name -> modules."""
        split = {name: modules.split() for name, modules in SHARDS.items()}
        domains = {name: tuple(modules) for name, modules in list((shards or split).items())[: scale.present]}
        corpus = Corpus.of(StdlibData(shards=domains))
        texts = [corpus.text(shard, "train")[: scale.text_bytes] for shard in domains]
        shortest = min(len(text) for text in texts)
        self.texts = [text[:shortest] for text in texts]
        self.scale = scale
        self.corpus_digest = corpus.digest
        self._module = build(scale.model)
        self.space = space_of(self._module)
        width = scale.model.context + 1
        draws = np.random.default_rng(0)
        held_out = [np.frombuffer(corpus.text(shard, "held-out"), dtype=np.uint8) for shard in domains]
        starts = [draws.integers(0, len(text) - width, scale.final // len(domains)) for text in held_out]
        windows = [text[at[:, None] + np.arange(width)] for text, at in zip(held_out, starts, strict=True)]
        interleaved = np.stack(windows, axis=1).reshape(-1, width)  # so that any beginning has all domains alike
        self._held_out = torch.from_numpy(interleaved)

    def initial(self, seed: int) -> NDArray[np.float32]:
        """The first release of a seed, float32 [P]."""
        return flat_of(build(self.scale.model.model_copy(update={"init_seed": seed})), self.space)

    @torch.no_grad()
    def bits(self, model_P: NDArray[np.float32], windows: int) -> float:
        """Bits per byte on the first ``windows`` held-out windows."""
        load_flat(self._module, self.space, model_P)
        batches = torch.split(self._held_out[:windows], 64)
        total = sum(float(self._module.loss(batch)) * len(batch) for batch in batches)
        return total / windows / math.log(2)


def parameters_of(scale: Scale) -> int:
    """Elements of the model of a scale."""
    return space_of(build(scale.model)).size
