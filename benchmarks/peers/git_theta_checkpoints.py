"""git-theta on the same files, in its own environment.

    PYTHON benchmarks/peers/git_theta_checkpoints.py

Started by benchmarks/storage_speed.py. Reads one JSON object a line, ``{"folder": FOLDER, "parent": FILE,
"child": FILE}``, commits both safetensors files one after the other as versions of one, and checks each out in
a clone of its own. Answers seconds on the wall and of processors of each step, and the bytes of the
repository's large-file store; or ``{"failed": WHY}`` where it cannot. Nothing outside FOLDER is touched.

In: ``git theta add`` and ``git commit``. Out: ``git checkout`` in a fresh clone, which copies what it needs from
the first repository on the same disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

MODEL = "model.safetensors"


class Repository:
    """Commands of git in a folder, with settings and logs of their own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"HOME": str(self.home), "TMPDIR": str(self.home), "PATH": tools}
        self.environment = {**os.environ, **own, "GIT_THETA_CHECKPOINT_TYPE": "safetensors", "GIT_CONFIG_NOSYSTEM": "1"}
        self.at = folder
        for name, value in {"user.name": "peer", "user.email": "peer@localhost", "init.defaultBranch": "main"}.items():
            self.run("git", "config", "--global", name, value)
        self.run("git", "lfs", "install", "--skip-repo")
        self.run("git", "theta", "install")

    def run(self, *command: str) -> None:
        found = subprocess.run(command, cwd=self.at, env=self.environment, capture_output=True, text=True, check=False)
        if found.returncode:
            told = [line for line in found.stderr.splitlines() if "DEBUG" not in line]
            raise ChildProcessError(f"{' '.join(command[:3])}: {' '.join(told[-3:])[-300:]}")


def seconds(*jobs: tuple[Repository, tuple[str, ...]]) -> tuple[float, float]:
    """Seconds on the wall, and of the processors in all processes that were started."""
    os.sync()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for repository, command in jobs:
        repository.run(*command)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tensors(path: Path) -> dict[str, str]:
    """Name -> digest of the bytes of every tensor in a safetensors file, whatever else its header says."""
    data = memoryview(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8:start]))
    header.pop("__metadata__", None)
    places = {name: entry["data_offsets"] for name, entry in header.items()}
    return {
        name: hashlib.sha256(data[start + first : start + end]).hexdigest() for name, (first, end) in places.items()
    }


def answer(question: dict) -> dict:
    folder = Path(question["folder"])
    folder.mkdir()
    repository = Repository(folder)
    work, clone = folder / "work", folder / "clone"
    repository.run("git", "init", "-q", str(work))
    repository.at = work
    repository.run("git", "theta", "track", MODEL)
    found = {}
    for name in ("parent", "child"):
        shutil.copyfile(question[name], work / MODEL)
        add, commit = ("git", "theta", "add", MODEL), ("git", "commit", "-q", "-m", name)
        found[f"{name} in"] = seconds((repository, add), (repository, commit))
    stored = sum(path.stat().st_size for path in (work / ".git" / "lfs" / "objects").rglob("*") if path.is_file())
    for name, commit in (("parent", "main~1"), ("child", "main")):
        clone = folder / f"clone-{name}"
        repository.run("git", "clone", "-q", "--no-checkout", str(work), str(clone))
        repository.at = clone
        found[f"{name} out"] = seconds((repository, ("git", "checkout", "-q", "--detach", commit)))
    return {**found, "stored": stored, "same": tensors(clone / MODEL) == tensors(Path(question["child"]))}


def main() -> None:
    print(json.dumps({"version": f"git-theta {version('git-theta')}"}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            found = answer(question)
        except ChildProcessError as error:
            found = {"failed": str(error)}
        finally:
            shutil.rmtree(question["folder"], ignore_errors=True)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
