"""The tokeniser that travels with a trunk: from bytes to tokens and back.

It is read from ``tokenizer.json`` by the library ``tokenizers``; no code that comes along is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barnraise.errors import ConfigValueError
from barnraise.libraries import library

__all__ = ["FILE", "PROBE", "Tokenizer"]

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
PROBE = "A sentence,  two spaces;\n\ta line. Caf\u00e9 12.5% {x}"
BYTES_MAX = 1 << 27


class Tokenizer:
    """A tokeniser.

    Attributes:
        before: tokens that the model wants to see before any text. end: the token that ends a text, if there is one.
    """

    def __init__(self, found: Any, end: int | None) -> None:
        self._found = found
        self.end = end
        self.before: list[int] = list(found.encode("").ids[:1])
        if self.before and self.before[0] == end and len(found.encode("").ids) == 1:
            self.before = []  # a token that closes a text opens none

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Tokenizer:
        """The tokeniser in the files beside a model's weights, by name.

        Raises:
            MissingExtraError: the library is not installed.
            ConfigValueError: there is none, it cannot be read, or it loses text.
        """
        why = "the model's tokeniser needs tokenizers, which is not installed."
        tokenizers = library("tokenizers", "transformers", why)
        data = files.get(FILE)
        if data is None or len(data) > BYTES_MAX:
            raise ConfigValueError(
                f"the model has no {FILE}" if data is None else f"{FILE} has {len(data):,} bytes, at most {BYTES_MAX:,}"
            )
        try:
            found = tokenizers.Tokenizer.from_str(data.decode("utf-8"))
            found.no_truncation()
            found.no_padding()
            settings = json.loads(files.get(SETTINGS, b"{}"))
            end = settings.get("eos_token")
            name = end.get("content") if isinstance(end, dict) else end
            made = cls(found, found.token_to_id(name) if isinstance(name, str) else None)
            came_back = made.decode(made.encode(PROBE.encode()))
        except Exception as error:  # the library raises bare exceptions
            raise ConfigValueError(f"{FILE} cannot be read: {' '.join(str(error).split())[:200]}") from error
        if came_back != PROBE.encode():
            raise ConfigValueError(
                f"the tokeniser makes {came_back[:60]!r} of {PROBE.encode()!r}; only one that keeps all text can be "
                "trained and tested with"
            )
        return made

    @property
    def vocabulary(self) -> int:
        """One more than the largest token there is."""
        return max(self._found.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: bytes) -> list[int]:
        """Tokens of a text alone; what is no UTF-8 becomes the character that stands for that."""
        return list(self._found.encode(text.decode("utf-8", errors="replace"), add_special_tokens=False).ids)

    def decode(self, tokens: list[int]) -> bytes:
        return str(self._found.decode(tokens, skip_special_tokens=True)).encode("utf-8", errors="replace")
