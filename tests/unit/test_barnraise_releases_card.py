"""A card says what is known, and what somebody else chose changes neither its front matter nor its page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import VerificationError
from barnraise.releases.card import CardFacts, Contributor, plain, quoted, render_card
from barnraise.releases.lineage import Lineage, LineageParent, measure_change, read_lineage
from laws import examples
from published import MERGED, NAME, REPORT_ROW, SPACE

BEFORE = np.random.default_rng(0).standard_normal(SPACE.size, dtype=np.float32)
ANYTHING = st.text(max_size=60)


def lineage(**changes: Any) -> Lineage:
    facts: dict[str, Any] = {
        "name": NAME,
        "version": "0.1.1",
        "model_digest": "b3:" + "a" * 64,
        "parents": (LineageParent(relation="base", name=NAME, version="0.1.0", model_digest="b3:" + "b" * 64),),
        "round": 1,
        "merged_by": ("mean", "outer-nesterov"),
        "updates": (MERGED,),
        "bump": "patch",
        "reason": "no supported test is worse",
        "change": measure_change(SPACE, None, BEFORE),
    }
    return Lineage(**{**facts, **changes})


FACTS = CardFacts(
    lineage=lineage(),
    description="A small model",
    licence="Apache-2.0",
    created_at_ms=1_700_000_000_000,
    tests={"loss-text": REPORT_ROW},
    contributors=(Contributor("ada", "2" * 64, 1),),
    architecture={"architecture": "byte-lm", "dim": 8},
    data={"text": ("email", "html")},
    corpus="python-stdlib",
    transformers=True,
)


def split(card: bytes) -> tuple[dict[str, Any], str]:
    """Front matter as a YAML reader sees it, and the page below it."""
    _, front, page = card.decode("utf-8").split("---\n", 2)
    return yaml.safe_load(front), page


def test_what_a_card_says() -> None:
    front, page = split(render_card(FACTS))
    assert front["license"] == "apache-2.0"
    assert (front["library_name"], front["pipeline_tag"]) == ("transformers", "text-generation")
    assert front["tags"] == ["barnraise", NAME]
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["name"], metric["value"]) == ("loss-text", 3.0)
    assert f"# {plain(NAME)} 0.1.1" in page
    assert "| loss\\-text | 3.0000 | 3.1000 | \\-0.1000" not in page  # numbers are ours, and stay as they are
    assert "| loss\\-text | 3.0000 | 3.1000 | -0.1000 | -0.2000 to 0.0100 |" in page
    for said in (
        "b3:" + "a" * 64,
        "`2222222222222222`",
        "outer\\-nesterov",
        "email, html",
        "2023-11-14",
        "from_pretrained",
    ):
        assert said in page, said


def test_the_first_release_and_one_without_tests_or_licence() -> None:
    first = replace(FACTS, lineage=lineage(parents=(), updates=(), merged_by=()), contributors=(), licence="")
    front, page = split(render_card(first))
    assert (front["license"], front["license_name"]) == ("other", "none stated")
    assert "this is the first release" in page
    front, page = split(render_card(replace(FACTS, tests={}, transformers=False, description="")))
    assert "model-index" not in front
    assert "library_name" not in front
    assert "## Acceptance tests" not in page
    assert "from_pretrained" not in page


def test_a_model_that_has_no_parent_passed_nothing() -> None:
    alone = {"loss-text": {**REPORT_ROW, "base_mean": None, "effect": None, "low": None, "high": None}}
    page = split(render_card(replace(FACTS, tests=alone)))[1]
    assert "| loss\\-text | 3.0000 | - | - | - | bits per byte | yes | - |" in page


def test_many_contributors_are_counted() -> None:
    crowd = [Contributor(f"c{number}", f"{number:064x}", 1) for number in range(205)]
    page = split(render_card(replace(FACTS, contributors=crowd)))[1]
    assert "and 5 more" in page
    assert page.count("| c") <= 200 + page.count("| contributor")


@settings(deadline=None, max_examples=examples(60))
@given(text=ANYTHING)
def test_a_quoted_text_comes_back_from_yaml(text: str) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    assert yaml.safe_load(f"key: {quoted(text)}") == {"key": text}
    assert quoted(text).isascii()
    assert quoted(text).isprintable()


@settings(deadline=None, max_examples=examples(60))
@given(text=ANYTHING)
def test_a_plain_text_steers_nothing(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown
    assert not re.search(r"[<>]", shown)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]!~$]", shown)
    assert "://" not in shown  # nothing becomes a link by itself
    assert "@" not in shown.replace("\\@", "")


@settings(deadline=None, max_examples=50)
@given(name=ANYTHING, description=ANYTHING, licence=ANYTHING, test=ANYTHING, unit=ANYTHING, domain=ANYTHING)
def test_hostile_words_add_nothing(
    name: str, description: str, licence: str, test: str, unit: str, domain: str
) -> None:
    def facts(word: Any) -> CardFacts:
        return replace(
            FACTS,
            description=word(description),
            licence=word(licence),
            tests={word(test): {**REPORT_ROW, "unit": word(unit)}},
            contributors=(Contributor(word(name), "2" * 64, 1),),
            data={word(domain): (word(name),)},
            corpus=word(domain),
        )

    front, page = split(render_card(facts(lambda text: text.encode("utf-8", "replace").decode("utf-8"))))
    usual_front, usual_page = split(render_card(facts(lambda text: "word")))
    assert front.keys() - {"license_name"} == usual_front.keys() - {"license_name"}
    assert page.count("\n") == usual_page.count("\n")
    assert re.sub(r"\\.", "", page).count("|") == usual_page.count("|")
    assert page.count("\n## ") == usual_page.count("\n## ")


def test_what_changed_is_counted_in_bits() -> None:
    after = BEFORE.copy()
    after[:3] += 1
    change = measure_change(SPACE, BEFORE, after)
    assert (change.parameters, change.parameters_changed, change.tensors, change.tensors_changed) == (
        SPACE.size,
        3,
        len(SPACE.tensors),
        1,
    )
    zeros = np.zeros(SPACE.size, dtype=np.float32)
    assert measure_change(SPACE, zeros, -zeros).parameters_changed == SPACE.size
    assert measure_change(SPACE, None, BEFORE).parameters_changed == SPACE.size


def test_a_lineage_entry_reads_back() -> None:
    entry = lineage()
    assert read_lineage(entry.canonical(), "it") == entry
    for wrong in (b"", b"[]", entry.canonical().replace(b'"base"', b'"Base!"'), b"[" * 100_000):
        with pytest.raises(VerificationError, match="it is no lineage entry"):
            read_lineage(wrong, "it")
