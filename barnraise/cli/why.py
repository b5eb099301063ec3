"""``barnraise why``: what became of an update, with the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.agreement import agreement_in_words
from barnraise.cli.nodes import HomeOption, nodes_here
from barnraise.cli.ordering import RunOption, find_run
from barnraise.cli.output import JsonOption, field, print_result, wrapped
from barnraise.cli.round import when
from barnraise.cli.rounds import find_rounds
from barnraise.cli.sources import FromOption, is_source_usual
from barnraise.errors import RefusedError, UsageError
from barnraise.narrate import short, suspected
from barnraise.records import UpdateStory

if TYPE_CHECKING:
    from contributor.folder import NodeFolder
    from contributor.state import NodeState

__all__ = ["why"]

NAME = re.compile(r"(b3:)?[0-9a-f]{6,64}\Z")
TRIALS_TOLD = 12


def why(
    update: Annotated[str, typer.Argument(help="Its digest, or how that begins: 6 hex digits or more.")],
    source: FromOption = None,
    run: RunOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what became of an update, and why: its check, its part in the merge, what was tested.

    For contributors as for operators: from a coordinator's URL, from the folder of a run, or
    from nowhere in particular where a node of yours has trained it or is the only one.

    Example: barnraise why 5f0c81aa92 --from http://127.0.0.1:8000
    """
    name = update.strip().lower()
    if not NAME.match(name):
        raise UsageError(f"{update[:80]!a} is no digest of an update; give at least its first 6 hex digits, as 5f0c81")
    begins = "b3:" + name.removeprefix("b3:")
    if home is not None and (source is not None or run is not None):
        raise UsageError("--home looks for a node of yours; it does not go with --from or --run")
    node = _Node.that_knows(begins, home) if source is None and run is None else None
    place = str(find_run(run).root) if run is not None else node.url if node is not None else source
    here = node.says(begins) if node is not None else ""
    try:
        with find_rounds(place) as rounds:
            story, label = rounds.story(name), rounds.label
    except RefusedError as error:
        if error.status == 404 and error.remote_code and here:
            unheard = {"from": place, "story": None, "here": here}
            print_result("why", unheard, as_json=as_json, human="\n".join(wrapped(f"{name}: {here}", "  ")))
            return
        raise
    result = {"from": label, "story": story.model_dump(mode="json"), "here": here}
    print_result("why", result, as_json=as_json, human="\n".join(_words(story, here)))


# -- nodes of this machine ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Node:
    """A node of this machine: where its coordinator is, and what it remembers."""

    url: str
    state: NodeState

    @classmethod
    def that_knows(cls, begins: str, home: Path | None) -> _Node | None:
        """The node in whose folder the command runs, else one that has trained it, else the only one there is.

        None where none of these is, or where a run that other commands would find comes before the last of them.
        """
        from contributor.folder import NodeFolder
        from contributor.history import read_history

        here = NodeFolder(Path())
        if home is None and Path("state.json").is_file() and here.url.is_file():
            return cls.of(here)
        folders = [NodeFolder(node.folder) for node in nodes_here(home)]
        for folder in folders:
            if any(unit.digest.startswith(begins) for unit in read_history(folder.history)):
                return cls.of(folder)
        return cls.of(folders[0]) if len(folders) == 1 and not is_source_usual() else None

    @classmethod
    def of(cls, folder: NodeFolder) -> _Node:
        return cls(folder.url.read_text().strip(), folder.load())

    def says(self, begins: str) -> str:
        """What this node knows of the update itself; "" if it has no more to do with it."""
        if any(outgoing.digest.startswith(begins) for outgoing in self.state.outbox):
            return "finished here, and has no receipt yet; joining again sends it"
        if any(sent.digest.startswith(begins) for sent in self.state.sent):
            return "sent from here; this node has not asked yet what became of it"
        if any(digest.startswith(begins) for digest in self.state.to_fold):
            return "this node adds it back to its next unit"
        return ""


# -- in words ----------------------------------------------------------------------------------


def _words(story: UpdateStory, here: str) -> list[str]:
    status = story.status
    by = f"{story.name} ({short(status.contributor)})" if story.name else short(status.contributor)
    size = f"{story.size_bytes:,} bytes, from {story.steps:,} steps over {story.tokens:,} tokens"
    return [
        *wrapped(f"{status.digest[:19]}.. {status.state}: {status.reason}", "  "),
        *field("by", by),
        *field("size", size),
        *_where(story),
        *(field("here", here) if here else []),
        *(field("check", _check(story.check)) if story.check else []),
        *(field("worth", story.check["worth"]) if story.check and "worth" in story.check else []),
        *(_merge(story.merge) if story.merge else []),
        *(field("tests", _verdict(story.tested)) if story.tested else []),
        *_late(status.evidence),
        *_trials(story),
        "",
        *(line for event in story.happened for line in wrapped(f"  {when(event.at_ms)}  {event.words}", " " * 23)),
    ]


def _where(story: UpdateStory) -> list[str]:
    """The round, and the releases that it is in and not in any more."""
    lines = []
    if story.round is not None:
        line = story.round
        lines += field("round", f"{line.number}, from {line.base_version}: {line.phase}: {line.reason}")
    if story.status.version:
        gone = f"; not in the trunk any more since {story.reverted_in}" if story.reverted_in else ""
        lines += field("release", f"{story.status.version}{gone}")
    return lines


def _check(check: dict[str, Any]) -> str:
    return f"{'passed' if check['passed'] else 'failed'}: {check['reason']}"


def _merge(merge: dict[str, Any]) -> list[str]:
    """Its part in the merge, and with whom it was in conflict."""
    share = (
        "a share that cannot be told of one update" if merge["share"] is None else f"a share of {merge['share']:.1%}"
    )
    clip = "" if merge["clip"] == 1 else f", shortened to {merge['clip']:.1%} of its length"
    text = f"one of {merge['updates']} by {merge['strategy']}, weight {merge['weight']:g}, {share}{clip}"
    lines = field("merge", text)
    if merge["recognised"]:
        lines += field("suspected", f"it {suspected(merge['recognised'])}")
    if merge["agreement"] is not None:
        lines += field("conflicts", f"with the others: {agreement_in_words(merge['agreement'])}")
    for pair in merge["worst_pairs"]:
        lines += field("", f"with {short(pair['with'])}: {agreement_in_words(pair['agreement'])}")
    return lines


def _verdict(tested: dict[str, Any]) -> str:
    return f"{'passed' if tested['passed'] else 'failed'}: {tested['reason']}"


def _late(evidence: dict[str, Any]) -> list[str]:
    """What a late update conflicts with."""
    conflicts = evidence.get("conflicts") or {}
    if "overall" not in conflicts:
        return []
    return field(
        "conflicts", f"with {', '.join(evidence['merged_meanwhile'])}: {agreement_in_words(conflicts['overall'])}"
    )


def _trials(story: UpdateStory) -> Iterator[str]:
    """Why it is blamed, and the newest parts of the round that were tested to find out."""
    if story.proof is not None:
        fails, passes = story.proof["fails"], story.proof["passes"]
        rest = f"the same {passes} without it pass" if passes else "without it nothing is left, which changes nothing"
        yield from field("at fault", f"{_updates(fails)} fail with it, {rest}")
    told = story.trials[-TRIALS_TOLD:]
    if told:
        yield from field("tested", f"{story.trials_total} parts of the round{_newest(len(told), story.trials_total)}")
    for trial in told:
        having = "with it" if trial.with_it else "without it"
        yield f"    {_updates(trial.updates)} {having}: {'passed' if trial.passed else 'failed'}"


def _newest(told: int, total: int) -> str:
    return ":" if told == total else f", the last {told} of them:"


def _updates(count: int) -> str:
    return f"{count} update{'' if count == 1 else 's'}"
