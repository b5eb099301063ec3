"""Judge this machine: Python, packages, the card and its driver, memory, disks, proxies in the environment."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contributor.doctor.finding import Finding, fail, ok, skipped, warn
from contributor.doctor.words import mib

__all__ = ["Card", "FolderFacts", "MachineFacts", "judge_machine"]

PYTHON_MIN = (3, 11)
DISK_MIN_BYTES = 1 << 30
"""A run folder with a small model and its cache; the run's own need is added where it is known."""
NO_KERNELS = "no kernel image"
"""In what CUDA says of a card that PyTorch was built without kernels for."""
OTHER_BUILD = "install a build that has them: https://pytorch.org/get-started/previous-versions"
LOOK_AT_DRIVER = "see whether nvidia-smi works; after an update of the driver, restart the machine"
_GLIBC = re.compile(r"GLIBC(?:XX)?_([0-9.]+)' not found|version `GLIBC(?:XX)?_([0-9.]+)'")


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card. Memory in bytes; ``driver`` as NVIDIA writes it, ``driver_cuda`` the newest CUDA it serves."""

    name: str
    memory_bytes: int
    free_bytes: int
    driver: str = ""
    driver_cuda: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder that a node writes to. ``errno``: the error of writing a small file there; 0 when it went well."""

    path: Path
    free_bytes: int
    errno: int = 0

    @property
    def error(self) -> str:
        """In the system's words; "" when it went well."""
        return os.strerror(self.errno) if self.errno else ""

    @property
    def is_over_quota(self) -> bool:
        """Whether its owner may write no more there, however much is free."""
        return self.errno == errno.EDQUOT


@dataclass(frozen=True)
class MachineFacts:
    """What is here.

    Attributes:
        missing: modules of the extra ``contributor`` that are not installed.
        overwritten: what barnraise.installation said of our packages; "" when they are ours.
        torch_version, torch_error: None and why, when it is not there or cannot be imported.
        torch_cuda: the CUDA that this torch was built for; None for a build without.
        gpus: names of those that CUDA computes on. useless: those that it shows and does not compute on, each in
            words with what it said; there can be some beside others that work.
        cuda_error: what CUDA said where it shows none. mps_works: torch can use it.
        cards: that the driver shows. cards_unknown: why nobody can say; "" when asked.
        memory_bytes, free_bytes: of the machine.
    """

    python: tuple[int, int, int]
    barnraise: str
    platform: str
    missing: tuple[str, ...] = ()
    overwritten: str = ""
    torch_version: str | None = None
    torch_error: str = ""
    torch_cuda: tuple[int, int] | None = None
    cuda_error: str = ""
    gpus: tuple[str, ...] = ()
    useless: tuple[str, ...] = ()
    mps_works: bool = False
    cards: tuple[Card, ...] = ()
    cards_unknown: str = ""
    cores: int = 1
    memory_bytes: int | None = None
    free_bytes: int | None = None
    folders: Mapping[str, FolderFacts] = field(default_factory=dict)

    @property
    def cuda_works(self) -> bool:
        """Whether torch can use a card."""
        return bool(self.gpus)

    @property
    def card(self) -> Card | None:
        """That with the most free memory, as ``join`` chooses, of those that compute, as far as names tell."""
        able = [card for card in self.cards if card.name in self.gpus]
        return max(able or self.cards, key=lambda card: card.free_bytes, default=None)


def judge_machine(facts: MachineFacts) -> list[Finding]:
    """Everything about this machine that no run has to be known for."""
    folders = [_judge_folder(name, folder, DISK_MIN_BYTES) for name, folder in facts.folders.items()]
    return [
        _judge_python(facts),
        _judge_packages(facts),
        _judge_torch(facts),
        *(_judge_useless(facts, said) for said in facts.useless),
        *([] if facts.useless else [_judge_driver(facts)]),
        _judge_device(facts),
        *folders,
    ]


def _judge_python(facts: MachineFacts) -> Finding:
    """Is Python new enough."""
    has = ".".join(map(str, facts.python))
    needs = ".".join(map(str, PYTHON_MIN))
    found = f"Python {has}, barnraise {facts.barnraise}, {facts.platform}"
    if facts.python[:2] < PYTHON_MIN:
        cure = f"make an environment with a newer one: python{needs} -m venv .venv"
        return fail("python", found, needed=f"{needs} or newer", cause="python-old", cure=cure)
    return ok("python", found)


def _judge_packages(facts: MachineFacts) -> Finding:
    """Are the extra's packages there, and are ours really ours."""
    if facts.overwritten:
        return fail(
            "packages",
            facts.overwritten,
            cause="package-overwritten",
            cure="install barnraise in an environment of its own: python3 -m venv .venv",
        )
    if facts.missing:
        return fail(
            "packages",
            f"{', '.join(facts.missing)} {'is' if len(facts.missing) == 1 else 'are'} not installed",
            needed="the extra contributor",
            cause="extra-missing",
            cure="pip install 'barnraise[contributor]'",
        )
    return ok("packages", "the extra contributor is complete, and no other distribution has overwritten ours")


def _judge_torch(facts: MachineFacts) -> Finding:
    """Can PyTorch be imported, and if not, whose fault is it."""
    if facts.torch_version is not None:
        built = "built for CUDA " + _dotted(facts.torch_cuda) if facts.torch_cuda else "built without CUDA"
        return ok("torch", f"{facts.torch_version}, {built}")
    wanted = _GLIBC.search(facts.torch_error)
    if wanted is not None:
        version = wanted[1] or wanted[2]
        return fail(
            "torch",
            f"PyTorch needs glibc {version} and this system's is older",
            needed=f"glibc {version} or newer",
            cause="glibc-old",
            cure="use a newer release of the system, or a container of one",
        )
    if not facts.torch_error:
        return fail("torch", "not installed", cause="extra-missing", cure="pip install 'barnraise[contributor]'")
    return fail(
        "torch",
        f"installed, and cannot be imported: {facts.torch_error}",
        cause="torch-broken",
        cure="pip install --force-reinstall torch, in an environment of its own",
    )


def _judge_driver(facts: MachineFacts) -> Finding:
    """Does the card's driver serve the CUDA that torch was built for."""
    if not facts.cards:
        why = facts.cards_unknown or "the driver shows none"
        return ok("gpu", f"no NVIDIA card ({why})")
    card = facts.cards[0]
    more = f" and {len(facts.cards) - 1} more" if len(facts.cards) > 1 else ""
    found = f"{card.name}{more}, {mib(card.memory_bytes)}, driver {card.driver or 'unknown'}"
    if facts.torch_version is None or facts.cuda_works:
        return ok("gpu", found)
    if facts.torch_cuda is None:
        return warn(
            "gpu",
            f"{found}; this PyTorch was built without CUDA and will not use it",
            cause="torch-without-cuda",
            cure="install a build with CUDA: https://pytorch.org/get-started/locally",
        )
    serves, wants = card.driver_cuda, facts.torch_cuda
    if serves is not None and serves < wants:
        return warn(
            "gpu",
            f"{found}, which serves CUDA up to {_dotted(serves)}; this PyTorch was built for CUDA {_dotted(wants)}",
            needed=f"a driver for CUDA {_dotted(wants)}",
            cause="driver-old",
            cure="update NVIDIA's driver, or install a PyTorch for the older CUDA; until then the CPU trains",
        )
    return warn(
        "gpu",
        f"{found}; PyTorch cannot use it: {facts.cuda_error or 'it does not say why'}",
        cause="cuda-broken",
        cure=LOOK_AT_DRIVER,
    )


def _judge_useless(facts: MachineFacts, said: str) -> Finding:
    """A card that CUDA shows and that computes nothing, with what it said; others may compute."""
    until_then = "until then it is left out" if facts.cuda_works else "until then the CPU trains"
    if NO_KERNELS in said:
        found = f"{said}; this PyTorch ({facts.torch_version}) was built without kernels for a card so old or so new"
        return warn("gpu", found, cause="card-unsupported", cure=f"{OTHER_BUILD}; {until_then}")
    return warn("gpu", said, cause="cuda-broken", cure=f"{LOOK_AT_DRIVER}; {until_then}")


def _judge_device(facts: MachineFacts) -> Finding:
    """What would train."""
    if facts.torch_version is None:
        return skipped("device", "not known without PyTorch")
    if facts.cuda_works:
        return ok("device", f"CUDA: {facts.card.name if facts.card else 'a card that PyTorch knows'}")
    if facts.mps_works:
        return ok("device", "MPS, Apple's GPU")
    return ok("device", f"the CPU, {facts.cores} cores")


def _judge_folder(name: str, folder: FolderFacts, needed_bytes: int) -> Finding:
    """Can a folder be written to, and is there room."""
    check = f"disk ({name})"
    if folder.errno == errno.EROFS:
        return fail(
            check,
            f"{folder.path} is on a file system that is mounted read-only",
            cause="home-read-only",
            cure="mount it writable, or keep state elsewhere: --home DIR, XDG_STATE_HOME, XDG_CONFIG_HOME",
        )
    is_full = folder.errno == errno.ENOSPC or (not folder.errno and folder.free_bytes < needed_bytes)
    if is_full or folder.is_over_quota:
        has = f"{folder.error} in" if folder.is_over_quota else f"{mib(folder.free_bytes)} free in"
        return fail(
            check,
            f"{has} {folder.path}",
            needed=f"at least {mib(needed_bytes)}",
            cause="disk-full",
            cure="free some (barnraise cache ls shows what pulls left), or another disk: --home DIR",
        )
    if folder.errno:
        return fail(
            check,
            f"{folder.path} cannot be written to: {folder.error}",
            cause="home-not-writable",
            cure="make it yours (ls -ld shows whose it is), or keep state elsewhere: --home DIR, XDG_STATE_HOME",
        )
    return ok(check, f"{mib(folder.free_bytes)} free in {folder.path}", f"at least {mib(needed_bytes)}")


def _dotted(version: tuple[int, int] | None) -> str:
    return ".".join(map(str, version)) if version else "none"
