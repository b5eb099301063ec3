"""Derived models in a run's index: found by name, version or range, and their manifests read."""

from __future__ import annotations

from barnraise.errors import NoSuchVersionError, VerificationError
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.manifest import DerivedManifest, ModelRef, read_derived
from barnraise.releases.index import DerivedEntry, ReleaseIndex
from barnraise.releases.source import MANIFEST_MAX_BYTES
from barnraise.versions import select, split_spec

__all__ = ["derived_entries", "derived_entry", "derived_names", "find_model", "read_derived_manifest", "select_derived"]


def derived_names(index: ReleaseIndex) -> tuple[str, ...]:
    """Names of all derived models, in the order of their first import."""
    return tuple(dict.fromkeys(entry.name for entry in index.derived))


def derived_entries(index: ReleaseIndex, name: str) -> tuple[DerivedEntry, ...]:
    """All versions of one derived model, oldest first; empty where there is none of that name."""
    return tuple(entry for entry in index.derived if entry.name == name)


def derived_entry(index: ReleaseIndex, name: str, version: str) -> DerivedEntry:
    """Exactly this version of a derived model.

    Raises:
        NoSuchVersionError: there is none.
    """
    for entry in index.derived:
        if (entry.name, entry.version) == (name, version):
            return entry
    raise NoSuchVersionError(f"this run lists no {name[:64]!a} {version[:32]}; see: barnraise ls")


def select_derived(index: ReleaseIndex, name: str, wanted: str) -> DerivedEntry:
    """The newest version of a derived model that fits a range, or an exact one.

    Raises:
        BadVersionError: neither a range nor a version.
        NoSuchVersionError: nothing fits; the message names the nearest.
    """
    entries = derived_entries(index, name)
    if not entries:
        known = ", ".join((index.name, *derived_names(index)))
        raise NoSuchVersionError(f"this is a run of {index.name}; it has no model {name[:64]!a}. There are: {known}")
    return derived_entry(index, name, select({entry.version: None for entry in entries}, wanted).version)


def find_model(index: ReleaseIndex, spec: str) -> ModelRef:
    """The model that ``NAME@RANGE``, ``NAME@VERSION`` or, of the trunk, ``NAME@CHANNEL`` means.

    For whoever vouches for the index: promotions are not looked at.

    Raises:
        BadVersionError, NoSuchVersionError: there is none.
    """
    name, wanted = split_spec(spec)
    if name == index.name:
        version = select(index.yanked, wanted, index.channels).version
        return ModelRef(name=name, version=version, model_digest=index.entry(version).model_digest)
    entry = select_derived(index, name, wanted)
    return ModelRef(name=name, version=entry.version, model_digest=entry.model_digest)


def read_derived_manifest(catalog: Catalog, entry: DerivedEntry) -> DerivedManifest:
    """The manifest of a listed model, fetched if need be; the index pins it by digest.

    Raises:
        VerificationError: it is none, or describes something else than the index does.
    """
    what = f"the manifest of {entry.name} {entry.version}"
    if entry.manifest.size_bytes > MANIFEST_MAX_BYTES:
        raise VerificationError(f"{what} has {entry.manifest.size_bytes:,} bytes; that is not one of ours")
    manifest = read_derived(catalog.blob(entry.manifest), what)
    parent = manifest.lineage.parent
    found = (manifest.name, manifest.version, manifest.model_digest, parent.name, parent.version)
    if found != (entry.name, entry.version, entry.model_digest, entry.parent_name, entry.parent_version):
        raise VerificationError(f"{what} describes another model than the index does; use another mirror")
    return manifest
