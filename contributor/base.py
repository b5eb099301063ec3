"""The model that a unit starts from: pulled as any consumer pulls it, verified, and measured before use.

What the coordinator states about its model is not taken on faith: a module is only built
once the verified file has exactly the parameters that the stated architecture needs.

P  elements in the whole parameter space
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import DiskFullError, NoSuchVersionError, UnreachableError, UpdateError, VerificationError
from barnraise.message import BlobRef
from barnraise.model_config import ModelConfig
from barnraise.protocol import Lease, RunInfo
from barnraise.releases.cache import Cache
from barnraise.releases.durable import quota_said
from barnraise.releases.fetch import Fetcher
from barnraise.releases.http_source import HttpSource
from barnraise.releases.installed import Installed
from barnraise.releases.load import trunk_of
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions
from barnraise.updates import Mask
from barnraise.updates.space import ParameterSpace
from contributor.folder import NodeFolder
from contributor.swarm.around import Swarm
from contributor.swarm.peer_blobs import PeersFirst, kept_bytes
from contributor.whereabouts import Whereabouts
from merge.architectures import parameter_count

__all__ = ["Base", "BaseSource", "ReleasedBase", "check_base"]


@dataclass(frozen=True)
class Base:
    """A verified model.

    Attributes:
        flat_P: float32 [P], may be read-only.
        fetched_bytes: what getting it cost. warnings: what pulling had to say.
        mask: that the lease names, where it names one.
        side: the content of a file beside the weights, by name; None of one that is not there.
    """

    version: str
    model: ModelConfig
    space: ParameterSpace
    flat_P: NDArray[np.float32]
    fetched_bytes: int
    warnings: tuple[str, ...] = ()
    mask: Mask | None = None
    side: Callable[[str], bytes | None] = field(default=lambda _: None, compare=False)


class BaseSource(Protocol):
    """Where bases come from."""

    def fetch(self, lease: Lease) -> Base:
        """The base of a lease.

        Raises:
            NetworkError, ReleaseError: it cannot be had, or is not what it should be.
        """


@dataclass(frozen=True)
class ReleasedBase:
    """Pulls tagged releases into the node's folder, by patches where they are cheaper.

    Attributes:
        where: the coordinator is.
        pace: called with the size of every piece that arrives; it may wait.
        swarm: where other nodes are asked for blobs first, and are given them, if that is wanted.

    The folder of the base is read again, every tensor of it, before each use, and pulled anew where it is damaged. So
    nobody waits until the disk has it: a power cut costs a pull.
    """

    where: Whereabouts
    info: RunInfo
    folder: NodeFolder
    pace: Callable[[int], None] | None = None
    swarm: Swarm = field(default_factory=Swarm)
    _gateways: dict[str, HttpSource] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fetch(self, lease: Lease) -> Base:
        source = self._source()
        spec = f"{self.info.name}@{lease.base_version}"
        trust = TrustOptions(self.info.root_digest, self.folder.trust)
        cache = Cache(self.folder.cache, max_bytes=self._kept_bytes)
        options = PullOptions(trust, cache=cache, durable=False)
        try:
            pulled = pull(source, spec, self.folder.base, options)
        except NoSuchVersionError as error:  # leased a moment before the index was published
            raise UnreachableError(f"the leased base is not published yet ({error})") from error
        except DiskFullError as error:
            raise DiskFullError(self._no_room(lease, error)) from error
        if pulled.model_digest != lease.base_digest:
            raise VerificationError(
                f"release {pulled.version} is model {pulled.model_digest[:16]}.., the lease says "
                f"{lease.base_digest[:16]}..; nothing was trained. Tell the operator."
            )
        installed = Installed.read(self.folder.base)
        model, space, flat_P = trunk_of(installed)
        mask = None if lease.mask is None else self._mask(lease.mask, space)
        return Base(pulled.version, model, space, flat_P, pulled.fetched_bytes, pulled.warnings, mask, installed.side)

    def _no_room(self, lease: Lease, error: DiskFullError) -> str:
        """In words that suit a node: pulling itself would name options of ``barnraise pull``.

        The folder stands in what waiting says before this: said again it would push the end out of a line.
        """
        said = quota_said(error) or f"{shutil.disk_usage(self.folder.root).free:,} bytes are free"
        return (
            f"release {lease.base_version} does not fit: {said}. Free some space (barnraise doctor {self.where.url}"
            f"{self.folder.home_option} says how much), or join with another --home."
        )

    def _source(self) -> ReleaseSource:
        gateway = self._gateway()
        if self.swarm.blobs is None:
            return gateway
        tally = self.swarm.tally
        return PeersFirst(gateway, self.swarm.blobs, lambda count: tally.add("blobs", from_gateway_bytes=count))

    def _gateway(self) -> HttpSource:
        """Where the coordinator is now; its connections stay for the next base."""
        url = self.where.url
        if url not in self._gateways:
            self._gateways.clear()
            self._gateways[url] = HttpSource(url, pace=self.pace)
        return self._gateways[url]

    @property
    def _kept_bytes(self) -> int:
        """Of blobs, between pulls: the next base builds on this one and needs none, but others may want them."""
        return 0 if self.swarm.blobs is None else kept_bytes(shutil.disk_usage(self.folder.root).free)

    def _mask(self, ref: BlobRef, space: ParameterSpace) -> Mask:
        """A mask, fetched once and kept.

        Raises:
            VerificationError: it is none for this base.
        """
        store = BlobStore(self.folder.root / "masks")
        if not store.has(ref.digest):
            Fetcher([self._gateway()], store).fetch([ref])
        try:
            return Mask.parse(store.read(ref.digest), space)
        except UpdateError as error:
            raise VerificationError(
                f"the leased mask does not fit its base ({error}); nothing was trained. Tell the operator."
            ) from error


def check_base(base: Base) -> Base:
    """Itself, safe to build a module for.

    Raises:
        VerificationError: the stated architecture has another number of parameters.
    """
    needed = parameter_count(base.model)
    if needed != base.space.size:
        raise VerificationError(
            f"release {base.version} has {base.space.size:,} parameters, its architecture needs {needed:,}; "
            "nothing was trained. Tell the operator."
        )
    return base
