"""A local Ray for one conductor: few CPUs, no dashboard, a private token, a temporary folder that goes away.

Ray's sockets need a short path, so its files do not lie in the run folder. Ray reads its
authentication settings while it is imported: ``prepare_environment`` comes before that.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from barnraise.digest import digest_bytes
from barnraise.private_file import create_private
from barnraise.run_folder import RunFolder

__all__ = ["local_ray", "prepare_environment", "ray_folders", "ray_token", "stop_leftovers"]

OBJECT_STORE_BYTES = 128 * 1024 * 1024


def ray_token(folder: RunFolder) -> Path:
    """Authentication token of a run's Ray. Its path tells that Ray's processes from all others."""
    return folder.key.parent / "ray.token"


def ray_folders(token: Path) -> list[Path]:
    """Temporary folders of the Rays with this token: one while Ray runs, none after it was stopped."""
    return list(Path(tempfile.gettempdir()).glob(f"{_prefix(token)}*"))


def prepare_environment(token: Path) -> None:
    """Set what Ray reads from the environment. Call before the first ``import ray`` of the process.

    Args:
        token: file of the authentication token; made with mode 0600 here, before Ray makes it itself.
    """
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_TOKEN_PATH") != str(token):
        raise RuntimeError("ray was imported before its environment was prepared")
    _create_token(token)
    os.environ.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # elsewhere than there, too: every port on loopback only
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        OMP_NUM_THREADS="1",
        RAY_worker_niceness="0",  # at Ray's own 15, volunteers on the same machine leave workers a thirtieth of a core
    )


@contextmanager
def local_ray(workers: int) -> Iterator[None]:
    """Start Ray on this machine and stop it at the end; what a killed predecessor left behind goes first.

    Args:
        workers: CPUs that tasks may use.
    """
    import ray

    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    stop_leftovers(token)
    try:
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=tempfile.mkdtemp(prefix=_prefix(token)),
        )
        yield
    finally:
        ray.shutdown()
        stop_leftovers(token)


def _create_token(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        create_private(path, secrets.token_hex(32).encode("ascii"))


def stop_leftovers(token: Path) -> None:
    """End what is left of a Ray that was killed, or whose driver was: processes that were given this token, and files.

    Workers and agents notice the loss of their cluster only after a while, and would outlive a restart.
    """
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("RAY_AUTH_TOKEN_PATH") == str(token):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    for folder in ray_folders(token):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(token: Path) -> str:
    return f"br-ray-{digest_bytes(str(token).encode())[3:11]}-"
