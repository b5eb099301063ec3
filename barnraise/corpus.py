"""The training text that is on every machine: the source of Python's own standard library.

A shard is a list of top-level modules and packages; its text is their ``.py`` files, sorted
by path, tests left out. A file is held out for acceptance when the digest of its relative
path says so, which is the same on every machine and for every shard it appears in.
Modules that this Python does not have are skipped, as versions differ.

Shard definitions reach contributors over the network. They select from the interpreter's
own list of module names; none of them is ever joined into a path unseen.
"""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from barnraise.data_config import StdlibData
from barnraise.digest import digest_bytes, digest_json
from barnraise.errors import ConfigValueError

__all__ = ["Corpus", "Split", "is_held_out"]

Split = Literal["train", "held-out"]
EXCLUDED = frozenset({"__pycache__", "test", "tests", "idle_test", "site-packages"})


def is_held_out(relative_path: str, percent: int) -> bool:
    """Whether a file is kept for acceptance: decided by its path alone."""
    return int(digest_bytes(relative_path.encode())[3:19], 16) % 100 < percent


@dataclass(frozen=True)
class Corpus:
    """Text of every shard, split into ``train`` and ``held-out``.

    Attributes:
        data: shards and the share that is held out.
        root: folder of the standard library, or of a stand-in for it.
        modules: names that may be selected from it.
    """

    data: StdlibData
    root: Path
    modules: frozenset[str]

    @classmethod
    def of(cls, data: StdlibData) -> Corpus:
        """The corpus of the running interpreter."""
        return cls(data, Path(sysconfig.get_path("stdlib")), sys.stdlib_module_names - EXCLUDED)

    def files(self, shard: str, split: Split) -> tuple[str, ...]:
        """Relative paths of a shard's files, sorted; each once.

        Raises:
            ConfigValueError: no such shard.
        """
        if shard not in self.data.shards:
            raise ConfigValueError(f"no shard {shard[:32]!r} in the corpus; there are {', '.join(self.data.shards)}")
        wanted = self.modules.intersection(self.data.shards[shard])
        found = {path for module in wanted for path in self._module_files(module)}
        held_out = split == "held-out"
        return tuple(sorted(path for path in found if is_held_out(path, self.data.held_out_percent) == held_out))

    def text(self, shard: str, split: Split) -> bytes:
        """The files one after the other, each ending in a newline.

        Raises:
            ConfigValueError: no such shard, or this Python has no file for it.
        """
        files = self.files(shard, split)
        if not files:
            raise ConfigValueError(
                f"shard {shard!r} has no {split} file in {self.root}; "
                "give it more modules or change data.held_out_percent"
            )
        return b"".join(_ending_in_newline((self.root / path).read_bytes()) for path in files)

    @cached_property
    def digest(self) -> str:
        """Digest of all shards' paths and contents, with the split."""
        splits: tuple[Split, ...] = ("train", "held-out")
        return digest_json(
            [
                [
                    shard,
                    split,
                    [[path, digest_bytes((self.root / path).read_bytes())] for path in self.files(shard, split)],
                ]
                for shard in sorted(self.data.shards)
                for split in splits
            ]
        )

    def _module_files(self, module: str) -> list[str]:
        single, package = self.root / f"{module}.py", self.root / module
        paths = [single] if single.is_file() else []
        if package.is_dir():
            paths += [path for path in package.rglob("*.py") if path.is_file()]
        relative = [path.relative_to(self.root) for path in paths]
        return [path.as_posix() for path in relative if EXCLUDED.isdisjoint(path.parts)]


def _ending_in_newline(text: bytes) -> bytes:
    return text if text.endswith(b"\n") or not text else text + b"\n"
