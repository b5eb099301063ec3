"""A peer that is measured beside us, in a process of an environment of its own: one line of JSON each way."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["Peer"]

SCRIPTS = Path(__file__).parent / "peers"


class Peer:
    """A script of ``peers/`` that is running. It begins by saying which ``version`` of what it is."""

    def __init__(self, python: str, script: str) -> None:
        command = [python, str(SCRIPTS / script)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version: str = self._answer()["version"]

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        """The next line that is an object; peers print other things too."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit("the peers' process ended; see its message above")
