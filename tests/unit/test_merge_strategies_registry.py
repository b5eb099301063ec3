"""Rules by name: what is built in, what other distributions bring along, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from barnraise.errors import UnknownStrategyError
from barnraise.merge_config import PreAggregationConfig
from merge.strategies import (
    BUILT_IN,
    OUTER_RULES,
    PRE_AGGREGATIONS,
    Bucketing,
    CentredClipping,
    GeometricMedian,
    Krum,
    Mean,
    MultiKrum,
    NearestNeighbourMixing,
    TrimmedMean,
    make_before,
    make_outer_rule,
    make_pre_aggregation,
    make_strategy,
)

FOREIGN = '''
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class Loudest:
    """The update with the largest element."""

    name: ClassVar[str] = "loudest"
    volume: int = 1

    @property
    def min_updates(self):
        return 1

    def combine(self, deltas_KP, weights_K):
        return max(deltas_KP, key=lambda delta_P: float(delta_P.abs().max())) * self.volume


@dataclass(frozen=True)
class Shapeless:
    name: ClassVar[str] = "shapeless"


@dataclass(frozen=True)
class Reversed:
    name: ClassVar[str] = "reversed"

    def needed(self, mixtures):
        return mixtures

    def mix(self, gram_KK, weights_K, seed):
        return torch.eye(len(weights_K), dtype=torch.float64).flip(0), weights_K.flip(0)


@dataclass(frozen=True)
class Half:
    name: ClassVar[str] = "half"
    slots: ClassVar[tuple[str, ...]] = ()

    def initial(self, size):
        return {}

    def step(self, merged_P, state):
        return merged_P * 0.5, {}


class Plain:
    name = "plain"
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of installed distributions."""
    (tmp_path / "foreign_rules.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "foreign_rules", raising=False)
    return tmp_path


def install(site: Path, entries: dict[str, str], group: str = "barnraise.strategies", name: str = "foreign") -> None:
    """A distribution with entry points, as an installer leaves it behind. To be called before the first look."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "\n".join(f"{entry} = {value}" for entry, value in entries.items())
    (folder / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")


# -- built in ----------------------------------------------------------------------------


def test_rules_are_made_by_name() -> None:
    assert make_strategy("mean", {}) == Mean()
    assert make_strategy("trimmed-mean", {"trim": 0.25}) == TrimmedMean(trim=0.25)
    assert make_strategy("krum", {"liars": 2.0}) == Krum(liars=2)
    assert isinstance(make_strategy("multi-krum", {"keep": 3.0}).keep, int)  # type: ignore[attr-defined]
    assert make_strategy("multi-krum", {"liars": 0.0}) == MultiKrum(liars=0)
    assert make_strategy("centred-clipping", {"unit": "absolute"}) == CentredClipping(unit="absolute")
    assert make_strategy("geometric-median", {"smoothing": 1}) == GeometricMedian(smoothing=1.0)
    assert make_pre_aggregation("nnm", {"liars": 3.0}) == NearestNeighbourMixing(liars=3)
    configs = [PreAggregationConfig(name="bucketing", options={"size": 3.0}), PreAggregationConfig(name="nnm")]
    assert make_before(configs) == (Bucketing(size=3), NearestNeighbourMixing())


def test_names_are_distinct_and_in_kebab_case() -> None:
    names = [str(kind.name) for kind in (*BUILT_IN, *PRE_AGGREGATIONS, *OUTER_RULES)]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and "_" not in name for name in names)


@pytest.mark.parametrize("kind", [*BUILT_IN, *PRE_AGGREGATIONS], ids=lambda kind: str(kind.name))
def test_every_rule_has_defaults_and_is_found_under_its_name(kind: type) -> None:
    make = make_pre_aggregation if kind in PRE_AGGREGATIONS else make_strategy
    assert make(kind.name, {}) == kind()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("trimed-mean", {}, "did you mean 'trimmed-mean'"),
        ("zebra", {}, "there are mean, median, trimmed-mean"),
        ("trimmed-mean", {"trimm": 0.1}, "did you mean 'trim'"),
        ("mean", {"trim": 0.1}, "it has none"),
        ("outer-nesterov", {}, "set merge.outer.name = 'outer-nesterov'"),
        ("nnm", {}, "put it into merge.before"),
        ("none", {}, "no strategy 'none'"),
        ("krum", {"liars": 2.5}, "krum: liars is 2.5, expected a whole number"),
        ("krum", {"liars": "2"}, "krum: liars is '2', expected a number"),
        ("krum", {"liars": True}, "krum: liars is True, expected a finite number"),
        ("krum", {"liars": -1.0}, "krum: liars is -1, expected a whole number, at least 0"),
        ("bulyan", {"liars": float("inf")}, "bulyan: liars is inf, expected a finite number"),
        ("multi-krum", {"keep": -2.0}, "multi-krum: keep is -2, expected a whole number, at least 0"),
        ("geometric-median", {"smoothing": 0.0}, r"smoothing is 0.0, expected a number in \[1e-9, 1\]"),
        ("geometric-median", {"iterations": 0.0}, "iterations is 0, expected a whole number, 1 to 10,000"),
        ("centred-clipping", {"radius": 0.0}, "radius is 0.0, expected a number above 0"),
        ("centred-clipping", {"unit": "miles"}, "unit is 'miles', expected 'median-norm' or 'absolute'"),
        ("centred-clipping", {"unit": 1.0}, "unit is 1.0, expected 'median-norm' or 'absolute'"),
        ("centred-clipping", {"iterations": 1001.0}, "iterations is 1001, expected a whole number, 1 to 1,000"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, options: dict[str, float | str], message: str) -> None:
    with pytest.raises(UnknownStrategyError, match=message):
        make_strategy(name, options)


@pytest.mark.parametrize("trim", [-0.1, 1e-9, 0.5, 1.0])
def test_a_share_that_trims_everything_is_refused(trim: float) -> None:
    with pytest.raises(UnknownStrategyError, match=r"expected 0 or a share in \[0.001, 0.5\)"):
        make_strategy("trimmed-mean", {"trim": trim})
    with pytest.raises(UnknownStrategyError, match="trim is nan"):
        TrimmedMean(trim=float("nan"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nmm", {}, "no pre-aggregation 'nmm'; did you mean 'nnm'"),
        ("bucketing", {"sise": 2.0}, "did you mean 'size'"),
        ("bucketing", {"size": 0.0}, "bucketing: size is 0, expected a whole number, at least 1"),
        ("nnm", {"liars": -1.0}, "nnm: liars is -1, expected a whole number, at least 0"),
    ],
)
def test_a_pre_aggregation_that_makes_no_sense_is_refused(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(UnknownStrategyError, match=message):
        make_pre_aggregation(name, options)


# -- from other distributions ------------------------------------------------------------


def test_an_installed_distribution_adds_a_strategy(site: Path) -> None:
    install(site, {"loudest": "foreign_rules:Loudest"})
    rule = make_strategy("loudest", {"volume": 3.0})
    assert rule.combine([torch.tensor([1.0]), torch.tensor([-2.0])], torch.ones(2)).tolist() == [-6.0]
    with pytest.raises(UnknownStrategyError, match="loudest has no option 'volum'; did you mean 'volume'"):
        make_strategy("loudest", {"volum": 3.0})
    with pytest.raises(UnknownStrategyError, match="no strategy 'lodest'; did you mean 'loudest'"):
        make_strategy("lodest", {})


def test_other_kinds_have_groups_of_their_own(site: Path) -> None:
    install(site, {"reversed": "foreign_rules:Reversed"}, "barnraise.pre_aggregations", "mixers")
    install(site, {"half": "foreign_rules:Half"}, "barnraise.outer_rules", "outers")
    mixing_LK, _ = make_pre_aggregation("reversed", {}).mix(torch.eye(2), torch.ones(2), 0)
    assert mixing_LK.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert make_outer_rule("half", {}).step(torch.ones(1), {})[0].tolist() == [0.5]
    with pytest.raises(UnknownStrategyError, match="no strategy 'half'"):
        make_strategy("half", {})


def test_nothing_foreign_is_imported_until_it_is_named(site: Path) -> None:
    install(site, {"loudest": "foreign_rules:Loudest"})
    make_strategy("mean", {})
    with pytest.raises(UnknownStrategyError):
        make_strategy("zebra", {})
    assert "foreign_rules" not in sys.modules


def test_a_built_in_name_cannot_be_taken_over(site: Path) -> None:
    install(site, {"mean": "foreign_rules:Loudest"})
    with pytest.warns(UserWarning, match="distribution foreign offers the strategy 'mean', which is built in"):
        assert make_strategy("mean", {}) == Mean()
    assert "foreign_rules" not in sys.modules


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("shapeless", "foreign_rules:Shapeless", "which lacks min_updates, combine"),
        ("plain", "foreign_rules:Plain", "which lacks being a dataclass"),
        ("louder", "foreign_rules:Loudest", "which lacks name = 'louder'"),
        ("absent", "no_such_module:Rule", "cannot be imported: No module named 'no_such_module'"),
        ("gone", "foreign_rules:Gone", "cannot be imported: .*Gone"),
    ],
)
def test_an_entry_point_of_another_shape_is_refused(site: Path, name: str, value: str, message: str) -> None:
    install(site, {name: value})
    with pytest.raises(UnknownStrategyError, match=f"distribution foreign offers the strategy '{name}' as .*{message}"):
        make_strategy(name, {})


def test_a_name_that_two_distributions_offer_is_refused(site: Path) -> None:
    install(site, {"loudest": "foreign_rules:Loudest"})
    install(site, {"loudest": "foreign_rules:Shapeless"}, name="other")
    with pytest.raises(UnknownStrategyError, match="distribution foreign and distribution other both offer"):
        make_strategy("loudest", {})
