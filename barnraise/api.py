"""The public Python API, which is also ``barnraise.pull`` and ``barnraise.load``; see docs/python-api.md.

Whoever uses a model needs these two. Neither imports torch or ray; ``load`` imports torch when
it is asked for torch tensors, and only then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from barnraise.digest import digest_json
from barnraise.errors import BadNameError, UsageError
from barnraise.message import check_run_name
from barnraise.releases.cache import cache_home
from barnraise.releases.convert import NAMES, Stored
from barnraise.releases.installed import Form
from barnraise.releases.load import Framework, Model, load_model
from barnraise.releases.pull import PullOptions, PullResult
from barnraise.releases.pull import pull as pull_release
from barnraise.releases.source import ReleaseSource, open_source
from barnraise.releases.trust import TrustOptions
from barnraise.versions import split_spec

__all__ = ["Model", "PullResult", "load", "pull"]

ENVIRONMENT = "BARNRAISE_FROM"
_SPEC = re.compile(r"[a-z0-9][a-z0-9-]*(@.*)?\Z")


def pull(
    spec: str,
    into: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str | os.PathLike[str]] = (),
    trust: str | None = None,
    dtype: str | None = None,
) -> PullResult:
    """Bring a folder to the newest release that ``spec`` allows, every byte verified. Nothing to do costs little.

    Args:
        spec: ``NAME@RANGE``, ``NAME@1.4.0``, ``NAME@stable`` or ``NAME``.
        into: the folder, replaced as a whole; by default one in the user's cache for each ``spec``.
        source: URL of a coordinator or mirror, or a folder; by default ``$BARNRAISE_FROM``.
        mirrors: other sources to fetch from; a bad one costs a retry, never a wrong byte.
        trust: digest of a root of the run (``b3:..``) or a file with one; by default what was pinned
            when the run was first seen.
        dtype: ``f32``, ``bf16`` or ``f16`` to convert to; None keeps the tensors as released.

    Returns:
        What was done; ``result.folder`` is where the release lies.

    Raises:
        BarnraiseError: of the families in docs/errors.md; the folder is as it was.
    """
    options = PullOptions(
        trust=TrustOptions.of(trust),
        mirrors=tuple(open_source(os.fspath(mirror)) for mirror in mirrors),
        form=Form(_dtype(dtype)),
    )
    folder = Path(into) if into is not None else _usual_folder(spec)
    return pull_release(_source(source), spec, folder, options)


def load(
    what: str | os.PathLike[str],
    framework: Framework = "numpy",
    dtype: str | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    trust: str | None = None,
    verify: bool = True,
) -> Model:
    """The tensors of a release by name, and its configuration.

    Args:
        what: a folder that a release was pulled into, or a spec as for :func:`pull`, which is then pulled first.
            A text that is both means the folder.
        framework: ``numpy``: arrays are read-only views into the mapped files. ``torch``: tensors share the mapped
            pages until they are written to, which never changes the files.
        dtype: ``f32``, ``bf16`` or ``f16``, to convert each tensor when it is asked for; None takes them as they lie
            in the files. numpy has no bfloat16: what is stored as such comes as float32, which has all its values.
        source, trust: as for :func:`pull`; for a spec only.
        verify: whether every tensor is hashed first, which takes about as long as reading the files.

    Raises:
        BarnraiseError: of the families in docs/errors.md.
    """
    folder = Path(what)
    if isinstance(what, str) and not folder.is_dir() and _SPEC.match(what):
        folder = pull(what, source=source, trust=trust).folder
    elif source is not None or trust is not None:
        raise UsageError(f"{folder} is a folder and is loaded as it is; source and trust are for a spec like NAME@^1.2")
    return load_model(folder, framework, dtype, verify=verify)


def _usual_folder(spec: str) -> Path:
    """One for each request, so that what one program asks for does not replace what another one did."""
    name, wanted = split_spec(spec)
    try:
        check_run_name(name)
    except BadNameError as error:
        raise UsageError(f"{spec[:80]!a} does not begin with the name of a model: {error}") from error
    request = quote(wanted, safe="^~=<>.,-")
    return cache_home() / "models" / f"{name}@{request if len(request) < 100 else digest_json(wanted)[3:]}"


def _source(named: str | os.PathLike[str] | None) -> ReleaseSource:
    text = os.fspath(named) if named is not None else os.environ.get(ENVIRONMENT)
    if not text:
        raise UsageError(f"which run? Name one: source='http://HOST:PORT', or a folder, or set {ENVIRONMENT}")
    return open_source(text)


def _dtype(text: str | None) -> Stored | None:
    if text is not None and text not in NAMES:
        raise UsageError(f"no type {text!a} is known here; there are {', '.join(NAMES)}")
    return NAMES[text] if text is not None else None
