"""The operator's own text, held out: what judges a run whose contributors bring theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from barnraise.errors import ConfigValueError
from barnraise.own_text import find_files, read_file

__all__ = ["OwnText"]


@dataclass(frozen=True)
class OwnText:
    """Text of an operator's files; there is nothing in it to train on."""

    held_out: bytes

    @classmethod
    def of(cls, beside: Path, patterns: Sequence[str]) -> OwnText:
        """Read what patterns match, one file after the other, by path.

        Args:
            beside: the folder where relative ones begin.

        Raises:
            ConfigValueError: a pattern matches nothing, or a file is no text.
            MissingExtraError: Arrow files, and nothing installed that reads them.
        """
        texts = []
        for file in find_files(patterns, beside):
            document = read_file(file)
            if document.skipped:
                raise ConfigValueError(
                    f"data.held_out: {file.path}: {document.skipped}; releases are judged on every file that it names"
                )
            texts.append(document.text)
        return cls(b"".join(texts))

    def text(self, shard: str, split: Literal["train", "held-out"]) -> bytes:
        """All of it.

        Raises:
            ConfigValueError: asked for text to train on.
        """
        if split == "train":
            raise ConfigValueError("the operator's text is held out; contributors train on their own")
        return self.held_out
