"""Releases: how a version is described, stored, found, pulled and verified.

manifest  what one release is: tensors, lineage, how to rebuild it
index     the two lists that are signed: all releases and channels, promoted releases
keyframe  whole models as canonical safetensors files
publish   puts the blobs of a release where mirrors look
source    where published bytes come from: a folder or an HTTP server
plan      the cheapest chain of keyframe and patches, purely
pull      follows a plan, verifies every byte, installs atomically
trust     whose releases a source has: from a pinned root to the lists
client    python-tuf's client on our sources, and its errors as ours
roles     who may sign what in release metadata: pure building blocks of The Update Framework
offline   what maintainers signed, kept to be published, and the chain of roots
repository  what must be signed and written next, and the writing (the coordinator's side)
provenance  what proves a release from files alone
bundle    a few small files as one
verify    checks an installed folder again, offline
load      an installed folder as configuration, space and flat vector
store     content-addressed blobs; durable: files that survive a power cut
"""

__all__: list[str] = []
