"""Releases: how a version is described, stored, found, pulled and verified.

manifest  what one release is: tensors, lineage, how to rebuild it
index     the signed list of releases and channels
keyframe  whole models as canonical safetensors files
publish   builds manifests and the index (the coordinator's side)
source    where published bytes come from: a folder or an HTTP server
plan      the cheapest chain of keyframe and patches, purely
pull      follows a plan, verifies every byte, installs atomically
trust     the coordinator's key, pinned on first use
verify    checks an installed folder again, offline
load      an installed folder as configuration, space and flat vector
store     content-addressed blobs; durable: files that survive a power cut
"""

__all__: list[str] = []
