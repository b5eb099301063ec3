"""How far updates agree, in words."""

from __future__ import annotations

from barnraise.agreement import agreement_in_words


def test_an_overlap_is_told_where_it_tells_something() -> None:
    sparse = {"cosine": 0.25, "overlap": 0.3, "expected_overlap": 0.01, "opposed": 0.4}
    assert agreement_in_words(sparse) == (
        "30.0% of what the smaller one of a pair changes the other changes too (1.0% by chance), 40.0% of that in "
        "opposite directions, cosine 0.250"
    )
    whole = {**sparse, "overlap": 1.0, "expected_overlap": 1.0}
    assert agreement_in_words(whole) == "40.0% of what they change in opposite directions, cosine 0.250"
    assert agreement_in_words({**whole, "overlap": None, "opposed": None}) == "cosine 0.250"
    assert agreement_in_words({**sparse, "cosine": None}) == "nothing to compare"
