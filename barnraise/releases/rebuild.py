"""Follow a plan: keyframe or installed model, then patch after patch, to the flat vector of a release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import UpdateError, VerificationError
from barnraise.releases.catalog import Catalog
from barnraise.releases.installed import check_model
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.manifest import Manifest
from barnraise.releases.plan import PatchStep, Plan
from barnraise.updates import Update, apply_update
from barnraise.updates.space import ParameterSpace

__all__ = ["apply_patch", "rebuild"]


def rebuild(
    catalog: Catalog, plan: Plan, manifest: Manifest, installed_P: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The model of a release, verified.

    Args:
        plan: how to get there. manifest: of the release where it ends.
        installed_P: float32 [P], the model to start from if the plan does so.

    Returns:
        float32 [P], a new array.

    Raises:
        VerificationError: a blob is not what the release says, or a patch does not fit.
        BlobMissingError, NetworkError, DiskFullError: as they come from the source and the disk.
    """
    space = manifest.space
    if plan.keyframe is not None:
        flat_P = parse_keyframe(catalog.blob(plan.keyframe), space).copy()
    else:
        assert installed_P is not None, "the plan starts from an installed model, and none was given"
        if installed_P.shape != (space.size,):
            raise VerificationError(f"{plan.start} has another layout than {manifest.version}; pull into a new folder")
        flat_P = installed_P.copy()
    for step in plan.patches:
        apply_patch(catalog, step, space, flat_P)
    check_model(manifest, space, flat_P, "the model that was rebuilt")
    return flat_P


def apply_patch(catalog: Catalog, step: PatchStep, space: ParameterSpace, flat_P: NDArray[np.float32]) -> None:
    """Turn ``flat_P`` (float32 [P]) into the next release, in place.

    Raises:
        VerificationError: the blob is not a patch of this base.
    """
    try:
        patch = Update.parse(catalog.blob(step.blob), space, base_digest=step.base_digest)
        if patch.role != "patch":
            raise VerificationError(f"the patch to {step.version} is an {patch.role}, not a patch; use another mirror")
        apply_update(flat_P, patch, out=flat_P)
    except UpdateError as error:
        raise VerificationError(f"the patch to {step.version} does not fit: {error}") from error
