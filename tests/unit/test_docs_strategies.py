"""docs/strategies.md says what the rules say of themselves, and every rule says enough."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from merge.strategies import BUILT_IN, OUTER_RULES, PRE_AGGREGATIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "strategies.md"
RULES = [*BUILT_IN, *PRE_AGGREGATIONS, *OUTER_RULES]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_strategies", PAGE.with_name("generate_strategies.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    assert generator.render() == PAGE.read_text(encoding="ascii"), "run: .venv/bin/python docs/generate_strategies.py"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_every_rule_has_a_row_and_a_part_with_its_source(rule: type) -> None:
    name = str(rule.name)  # type: ignore[attr-defined]
    page = PAGE.read_text(encoding="ascii")
    assert page.count(f"\n| [{name}](#{name}) | ") == 1
    part = page.split(f"\n### {name}\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert "\n- Formula: " in part
    assert "\n- Cost: " in part
    assert "https://" in part.split("\n- Source: ")[1]
    for option in dataclasses.fields(rule):  # type: ignore[arg-type]
        assert f"\n- Option `{option.name}` (default " in part


def test_a_docstring_that_lacks_something_stops_the_page(generator: ModuleType) -> None:
    said = "Rule: does it.\n\nFormula: a\n  + b\nDivisor: 1.\nTies: none.\nTolerates: none.\nCost: one.\n\nMore."
    assert generator.sections(said)["Formula"] == "a + b"
    assert generator.sections(said)["Cost"] == "one."
    with pytest.raises(SystemExit, match="strategy rule lacks Source"):
        generator.entry("rule", "strategy", said, ())
    assert generator.summary(said) == "Does it."
