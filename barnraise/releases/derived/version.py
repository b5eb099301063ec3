"""Which number an imported model gets: a rule, so that nobody types one.

The first import under a name is 0.1.0. A later one that has the same tensors (names, shapes,
types) and the same parent model, in whatever release of it, fits wherever the earlier one did:
the last number grows. Anything else is another model under the old name, and before 1.0 that
is the middle number.
"""

from __future__ import annotations

from collections.abc import Sequence

from barnraise.releases.derived.manifest import DerivedManifest
from barnraise.updates.space import ParameterSpace
from barnraise.versions import parse_version

__all__ = ["next_derived_version"]


def next_derived_version(earlier: Sequence[DerivedManifest], space: ParameterSpace, parent: str) -> tuple[str, str]:
    """The version of the next import under a name, and why.

    Args:
        earlier: all versions of that name, oldest first.
        space: layout of the new one. parent: name of the model that it comes from.
    """
    if not earlier:
        return "0.1.0", "the first import of this name"
    last = earlier[-1]
    number = parse_version(last.version)
    if last.lineage.parent.name != parent:
        return str(number.bump_minor()), f"comes from {parent}, {last.version} from {last.lineage.parent.name}"
    if last.space.digest != space.digest:
        return str(number.bump_minor()), f"other tensors, shapes or types than {last.version}"
    return str(number.bump_patch()), f"the same tensors, shapes, types and parent as {last.version}"
