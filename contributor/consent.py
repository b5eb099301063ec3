"""What leaves the machine and what it can tell: read and agreed to before the first unit of a run.

Remembered in the node's folder by the digest of the text, so another text (another kind of
data, or a newer Barnraise that knows more) is asked about again.

Source: Zhu et al. 2019, "Deep Leakage from Gradients", https://arxiv.org/abs/1906.08935;
Geiping et al. 2020, "Inverting Gradients", https://arxiv.org/abs/2003.14053;
Carlini et al. 2021, "Extracting Training Data from Large Language Models", https://arxiv.org/abs/2012.07805.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import digest_bytes
from barnraise.errors import NotAgreedError
from barnraise.protocol import RunInfo
from barnraise.releases.durable import replace_file

__all__ = ["Consent", "agreed", "consent_for", "remember", "require"]

COLUMNS = 80
PUBLIC_DATA = frozenset({"python-stdlib", "digits"})
"""Corpora that everybody has anyway."""

_LEAVES = """\
What leaves this machine for {url}
  - updates: what training has changed in the model, compressed and signed
  - with each update: how many steps and examples, and the training loss at its
    first and last step
  - your display name, your public key, and the address that any web server sees

What stays: your files, the training text, the private key, everything else."""

_PUBLIC = (
    "This run trains on {data}, which is public. An update can tell nothing of yours but that this machine has taken "
    "part, when, and how fast it is."
)

_PRIVATE = "This run trains on {data}. An update is made from that, and can tell of it:"

_HOW = """\
  - gradient inversion: whoever has an update and the model that it began with
    can rebuild some of the examples, all the better the fewer there were
    (Zhu et al. 2019, arxiv.org/abs/1906.08935; Geiping et al. 2020,
    arxiv.org/abs/2003.14053)
  - memorised text: a model repeats rare things that it was trained on, such as
    names and numbers, to whoever asks (Carlini et al. 2021,
    arxiv.org/abs/2012.07805); a release cannot be called back
Compression and merging make both harder, and rule out neither. Give this run no
text that must stay secret. Clipping plus noise bounds what any one example can
tell, and an account of it is kept: join --private 8, and docs/privacy.md says
what the 8 means and what it costs."""

_SWARM = (
    "As you asked, this machine also talks to other nodes of the run ({parts}). They see its network address, its "
    "public key and how far it is, and they may be anybody. What they send is verified before it is used "
    "(docs/swarm.md)."
)


@dataclass(frozen=True, slots=True)
class Consent:
    """What is to be agreed to. ``text`` has no more than 80 columns."""

    run: str
    text: str

    @property
    def digest(self) -> str:
        return digest_bytes(self.text.encode())


def consent_for(info: RunInfo, url: str, swarm: Sequence[str] = ()) -> Consent:
    """The text for a run.

    Args:
        swarm: names of what is wanted of the swarm.
    """
    data = _printable(info.data.learnt_from)
    if info.data.corpus in PUBLIC_DATA:
        tells = textwrap.fill(_PUBLIC.format(data=data), COLUMNS)
    else:
        tells = f"{textwrap.fill(_PRIVATE.format(data=data), COLUMNS)}\n{_HOW}"
    if swarm:
        tells = f"{tells}\n\n{textwrap.fill(_SWARM.format(parts=', '.join(swarm)), COLUMNS)}"
    return Consent(info.name, f"{_LEAVES.format(url=_printable(url))}\n\n{tells}\n")


def agreed(path: Path, consent: Consent) -> bool:
    """Whether this very text was agreed to before; ``path`` is the node's consent.json."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return False  # whether the folder can be used at all, its lock says in words
    return isinstance(value, dict) and value.get("digest") == consent.digest


def remember(path: Path, consent: Consent, at_ms: int) -> None:
    """Keep that it was agreed to.

    Raises:
        DiskFullError: no space left.
    """
    value = {"run": consent.run, "digest": consent.digest, "at_ms": at_ms, "text": consent.text}
    replace_file(path, json.dumps(value, indent=1, sort_keys=True).encode("ascii"))


def require(is_agreed: bool | None, consent: Consent) -> None:
    """Go on only when it was agreed to.

    Args:
        is_agreed: what the owner answered; None where nobody could be asked.

    Raises:
        NotAgreedError: it was not.
    """
    if is_agreed is None:
        raise NotAgreedError(
            f"nobody has agreed yet to what an update of {consent.run} can tell; nothing was trained or sent. Read it "
            "in a terminal with the same command, or agree with --yes"
        )
    if not is_agreed:
        raise NotAgreedError(
            f"you did not agree to take part in {consent.run}; nothing was trained or sent. The same command asks "
            "again, and with --yes it takes that for agreed"
        )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:200]
