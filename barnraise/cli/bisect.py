"""``barnraise bisect``: since which release, and which update, a test is not passed any more."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.cli.output import JsonOption, print_result, print_warnings, printable, wrapped
from barnraise.cli.output import field as labelled
from barnraise.cli.sources import FromOption, TrustOption, find_source
from barnraise.errors import UsageError, VerificationError
from barnraise.narrate import short
from barnraise.releases.source import ReleaseSource
from barnraise.run_folder import RunFolder

if TYPE_CHECKING:
    from barnraise.config import RunConfig
    from barnraise.suite import SuiteConfig
    from coordinator.acceptance.blame.ancestry import Ancestry
    from coordinator.acceptance.blame.behaviour import Behaviour, Judged
    from coordinator.acceptance.blame.bisect import Introduced
    from coordinator.acceptance.supply import Supply
    from coordinator.blame import Blamed

__all__ = ["bisect"]

TRUNK = "nightly"
_ENDS = re.compile(r"(?P<good>[^.].*?)?\.\.(?P<bad>[^.].*)?\Z")


def bisect(
    test: Annotated[str, typer.Argument(metavar="SUITE::TEST", help="A suite's file or name; empty: the run's own.")],
    ends: Annotated[str, typer.Argument(metavar="[A..B]", help="A good model and a bad one made from it.")] = "..",
    source: FromOption = None,
    trust: TrustOption = None,
    releases_only: Annotated[bool, typer.Option("--releases-only", help="Do not look for the update.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the release, then the update, since which a test is not passed any more.

    A model is bad when TEST does not show it to be non-inferior to A. A is the first release and
    B the newest by default; B may be a derived model, NAME@VERSION: then it tells whether what is
    wrong with it was inherited. What cannot be tested is passed over.

    Example: barnraise bisect ::loss-text 0.1.0..0.1.8 --from ./my-run
    """
    from barnraise.installation import require

    require("coordinator")
    suite_name, test_name = _parted(test)
    good, bad = _ends(ends)
    place = find_source(source)

    def tell(line: str) -> None:
        if not as_json:
            print(printable(line), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="barnraise-bisect-") as scratch:
        search = _Search.open(place, trust, Path(scratch), tell)
        found = search.run(suite_name, test_name, (good, bad), releases_only=releases_only)
    print_warnings(search.warnings, as_json=as_json)
    print_result("bisect", found.as_json(), as_json=as_json, human="\n".join(found.words()))


def _parted(text: str) -> tuple[str, str]:
    suite, found, name = text.rpartition("::")
    if not found or not name:
        raise UsageError(f"{text[:80]!a} names no test; say SUITE::TEST, or ::TEST of the run's own suite")
    return suite, name


def _ends(text: str) -> tuple[str | None, str | None]:
    match = _ENDS.match(text)
    if match is None:
        raise UsageError(f"{text[:80]!a} is no range of models; say A..B, such as 0.1.0..0.1.8, or leave one end out")
    return match["good"], match["bad"]


@dataclass(frozen=True)
class _Found:
    """What a bisection found; ``tested``: model -> answer and reason, in the order of asking."""

    test: str
    label: str
    good: str
    bad: str
    introduced: Introduced
    tested: dict[str, Judged]
    released: dict[str, Any] | None
    blamed: Blamed | None
    not_blamed: str

    def as_json(self) -> dict[str, Any]:
        blamed = self.blamed and {
            "culprits": list(self.blamed.culprits),
            "trials": self.blamed.trials,
            "proofs": [
                {"update": p.culprit, "fails": len(p.fails), "passes": len(p.passes)} for p in self.blamed.proofs
            ],
        }
        return {
            "from": self.label,
            "test": self.test,
            "good": self.good,
            "bad": self.bad,
            "first_bad": self.introduced.first_bad,
            "untestable": list(self.introduced.untestable),
            "edges": [list(edge) for edge in self.introduced.edges],
            "reason": self.introduced.reason,
            "inherited": self.inherited,
            "tested": [{"model": m, "answer": j.answer, "reason": j.reason} for m, j in self.tested.items()],
            "release": self.released,
            "blamed": blamed,
            "not_blamed": self.not_blamed,
        }

    @property
    def inherited(self) -> bool | None:
        """Whether a derived model has it from an ancestor; None where that is not known, or no question."""
        if "@" not in self.bad:
            return None
        if self.introduced.first_bad != self.bad:
            return True
        return None if self.introduced.untestable else False

    def words(self) -> list[str]:
        reason = self.tested[self.introduced.first_bad].reason
        lines = [*wrapped(f"{self.test}: {self.introduced.reason}", "  "), *labelled("because", reason)]
        if self.inherited is not None:
            what = f"yes, from {self.introduced.first_bad}" if self.inherited else f"no, it came with {self.bad}"
            lines += labelled("inherited", what)
        asked = len(self.tested)
        lines += labelled("tested", f"{asked} model{'' if asked == 1 else 's'} against {self.good}")
        lines += [f"    {model}: {judged.answer}" for model, judged in self.tested.items()]
        return [*lines, *self._updates()]

    def _updates(self) -> list[str]:
        lines: list[str] = []
        if self.blamed is not None:
            names = ", ".join(short(update) for update in self.blamed.culprits)
            lines += labelled("update", f"{names}, found in {self.blamed.trials} merges of parts of the round")
            for proof in self.blamed.proofs:
                without = f"without it {len(proof.passes)} are good" if proof.passes else "without it nothing is merged"
                lines.append(f"    {short(proof.culprit)}: with it {len(proof.fails)} updates are bad, {without}")
            return lines
        if self.not_blamed:
            lines += labelled("update", self.not_blamed)
        for update in (self.released or {}).get("updates", ()):
            lines.append(
                f"    {short(update['digest'])} by {short(update['contributor'])}, weight {update['weight']:g}"
            )
        return lines


@dataclass
class _Search:
    """One bisection: where models come from, and where work is done."""

    place: ReleaseSource
    ancestry: Ancestry
    scratch: Path
    tell: Callable[[str], None]
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, place: ReleaseSource, trust: str | None, scratch: Path, tell: Callable[[str], None]) -> _Search:
        from barnraise.releases.catalog import Catalog
        from barnraise.releases.store import BlobStore
        from barnraise.releases.trust import TrustOptions, read_index
        from coordinator.acceptance.blame.ancestry import Ancestry

        trusted = read_index(place, TrustOptions.of(trust))
        ancestry = Ancestry(Catalog(place, trusted.index, BlobStore(scratch / "fetched")))
        return cls(place, ancestry, scratch, tell, list(trusted.warnings))

    @property
    def folder(self) -> RunFolder | None:
        """The run's folder, where the source is one."""
        folder = RunFolder(Path(self.place.label))
        return folder if folder.config.is_file() else None

    def run(self, suite: str, test: str, named: tuple[str | None, str | None], *, releases_only: bool) -> _Found:
        from coordinator.acceptance.blame.bisect import Bisection

        bad = self.ancestry.find(named[1] or TRUNK)
        good = self.ancestry.find(named[0]) if named[0] else self.ancestry.above(bad)[0]
        self.ancestry.require_ends(good, bad)
        behaviour = self._behaviour(suite, test, good)
        behaviour.require_good()
        tested = {bad: self._judged(behaviour, bad)}
        _require_bad(bad, good, tested[bad])
        above = self.ancestry.above(bad)
        search = Bisection({node: self.ancestry.parents[node] for node in above}, bad, [good])
        while (node := search.next_node()) is not None:
            tested[node] = self._judged(behaviour, node)
            search.record(node, tested[node].answer)
        introduced = search.result()
        released = self._released(introduced)
        blamed, why_not = None, ""
        if not releases_only:
            blamed, why_not = self._blame(behaviour, introduced)
        name = f"{Path(suite).stem if suite else self.ancestry.catalog.index.name}::{test}"
        return _Found(name, self.place.label, good, bad, introduced, tested, released, blamed, why_not)

    def _judged(self, behaviour: Behaviour, node: str) -> Judged:
        judged = behaviour.judge_release(self.ancestry.contender(node))
        self.tell(f"{node}: {judged.answer}: {judged.reason}")
        return judged

    def _behaviour(self, suite_name: str, test: str, good: str) -> Behaviour:
        from coordinator.acceptance.blame.behaviour import Behaviour, one_test

        config, held_out = self._settings(good)
        path = _suite_file(suite_name)
        suite = one_test(_suite(path) if path is not None else config.acceptance, test)
        supply = self._supply(suite, path, config, held_out)
        return Behaviour(suite, self.ancestry.contender(good), supply.of, self.scratch / "values")

    def _settings(self, good: str) -> tuple[RunConfig, str]:
        """The run's configuration and the digest of its windows: of its folder, else as the good end states them."""
        from barnraise.config import load_run_config, parse_run_config

        if self.folder is not None:
            from coordinator.ledger import Ledger

            with closing(Ledger.open_reading(self.folder.ledger)) as ledger:
                run = ledger.run()
            if run is not None:
                return load_run_config(self.folder.config), run.held_out_digest
        settings = self.ancestry.catalog.blob(self.ancestry.trunk_manifest(good).config)
        try:
            value = json.loads(bytes(settings))
            return parse_run_config(value["run"], source=f"the configuration of {good}"), str(value.get("held_out", ""))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VerificationError(
                f"the published configuration of {good} is malformed; use another mirror"
            ) from error

    def _supply(self, suite: SuiteConfig, path: Path | None, config: RunConfig, held_out: str) -> Supply:
        from coordinator.acceptance.supply import drawn_here, no_windows, of_folder, of_run

        if self.folder is not None:
            of_the_run = of_run(self.folder, suite, held_out)
            return of_the_run if path is None else of_folder(suite, path.parent, of_the_run.held_out)
        windows = drawn_here(suite, config, held_out) if suite.tests[0].shard is not None else no_windows(suite.tests)
        if windows.note:
            self.warnings.append(windows.note)
        return of_folder(suite, path.parent if path is not None else Path(), windows)

    def _released(self, introduced: Introduced) -> dict[str, Any] | None:
        """The updates of the release that was found; None of a derived model."""
        if "@" in introduced.first_bad:
            return None
        manifest = self.ancestry.trunk_manifest(introduced.first_bad)
        left_out = list(manifest.remerged.left_out) if manifest.remerged is not None else []
        updates = [] if left_out else [update.model_dump(mode="json") for update in manifest.updates]
        return {"version": manifest.version, "round": manifest.round, "updates": updates, "left_out": left_out}

    def _blame(self, behaviour: Behaviour, introduced: Introduced) -> tuple[Blamed | None, str]:
        """The updates at fault, or why they are not known."""
        found = introduced.first_bad
        if "@" in found:
            return None, ""
        if introduced.untestable:
            return None, f"not looked for: it may also have come with {', '.join(introduced.untestable)}"
        if not introduced.edges:
            return None, "none: it was so from the beginning"
        if self.folder is None:
            return None, "one of these; only the folder of the run (--from DIR) has what it takes to tell"
        from coordinator.blame import Shop, blame
        from coordinator.ledger import Ledger

        with closing(Ledger.open_reading(self.folder.ledger)) as ledger:
            shop = Shop(self.folder, ledger, self.ancestry, self.scratch / "merged")
            blamed = blame(shop, found, behaviour.judge_release, self.tell)
        return blamed, "" if blamed else f"none: {found} was made by leaving updates out"


def _require_bad(bad: str, good: str, judged: Judged) -> None:
    if judged.answer == "good":
        raise UsageError(f"{bad} is as good as {good}, so there is nothing to look for: {judged.reason}")
    if judged.answer == "untestable":
        raise UsageError(f"{bad} cannot be tested, so it is not known to be bad: {judged.reason}; name another end")


def _suite_file(name: str) -> Path | None:
    """The file of a suite that was named by path or name; None of the run's own."""
    if not name:
        return None
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    from barnraise.suite import find_suite

    return find_suite(name, Path("run.toml"))


def _suite(path: Path) -> SuiteConfig:
    from barnraise.suite import load_suite_config

    return load_suite_config(path)
