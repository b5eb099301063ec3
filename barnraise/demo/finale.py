"""The end of the demo: a consumer pulls by range, verifies, checks parent plus patch, and reads a sample."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from barnraise.errors import VerificationError
from barnraise.releases.cache import Cache
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import open_source
from barnraise.releases.trust import TrustOptions
from barnraise.releases.verify import verify_folder, verify_patch

__all__ = ["Finale", "pull_and_verify"]

RANGE = "^0.1"
PROMPT = "def "
SAMPLE_BYTES = 160


@dataclass(frozen=True)
class Finale:
    """What the consumer saw. ``patch_share`` is patch bytes over model bytes."""

    spec: str
    version: str
    model_digest: str
    fetched_bytes: int
    model_bytes: int
    patch_bytes: int
    patch_share: float
    checked: tuple[str, ...]
    equals_parent_plus_patch: bool
    sample: str
    folder: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def pull_and_verify(url: str, name: str, into: Path) -> Finale:
    """Pull the newest release of ``name`` in range from a gateway, check it in every way, and let it write.

    Raises:
        ReleaseError, NetworkError: whatever does not hold.
    """
    source, spec = open_source(url), f"{name}@{RANGE}"
    trust = TrustOptions(home=into.parent / "consumer")  # trust/ is the coordinator's
    pulled = pull(source, spec, into, PullOptions(trust, cache=Cache(into.parent / "cache", max_bytes=0)))
    report = verify_folder(into, trust)
    patch = verify_patch(source, pulled.version, trust=trust)
    return Finale(
        spec=spec,
        version=pulled.version,
        model_digest=pulled.model_digest,
        fetched_bytes=pulled.fetched_bytes,
        model_bytes=pulled.model_bytes,
        patch_bytes=patch.patch_bytes,
        patch_share=round(patch.patch_bytes / pulled.model_bytes, 5),
        checked=report.checked,
        equals_parent_plus_patch=patch.model_digest == pulled.model_digest,
        sample=_sample(into),
        folder=str(into),
    )


def _sample(folder: Path) -> str:
    """Text that the pulled model writes, from a process of its own: only that one needs torch."""
    command = [
        sys.executable,
        "-m",
        "barnraise",
        "sample",
        str(folder),
        "--prompt",
        PROMPT,
        "--length",
        str(SAMPLE_BYTES),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, check=False, timeout=120)
    try:
        text = json.loads(done.stdout)["result"]["text"]
    except (ValueError, KeyError) as error:
        raise VerificationError(
            f"the pulled model in {folder} does not write: {done.stderr.decode()[-300:]}"
        ) from error
    return str(text)
