"""Bisection: all short chains, every pattern of models that cannot be tested, all small family trees."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import BrokenChainError, UsageError
from coordinator.acceptance.blame.bisect import Answer, Answered, Bisection, Introduced, questions_at_most

Oracle = Callable[[str], Answer]
Tree = dict[str, tuple[str, ...]]


def names(count: int) -> list[str]:
    return [f"0.1.{number}" for number in range(count)]


def run(search: Bisection, oracle: Oracle) -> Introduced:
    asked: set[str] = set()
    while (node := search.next_node()) is not None:
        before = search.candidates
        assert node in before
        assert node not in asked
        asked.add(node)
        search.record(node, oracle(node))
        assert set(search.candidates) <= set(before), "what is settled stays settled"
    return search.result()


def changed_at(nodes: list[str], first_bad: int, untestable: frozenset[str] = frozenset()) -> Oracle:
    def oracle(node: str) -> Answer:
        if node in untestable:
            return "untestable"
        return "bad" if nodes.index(node) >= first_bad else "good"

    return oracle


@pytest.mark.parametrize("count", range(2, 17))
def test_the_change_is_found_on_every_chain_wherever_it_is(count: int) -> None:
    nodes = names(count)
    most = 0
    for first_bad in range(1, count):
        search = Bisection.chain(nodes)
        found = run(search, changed_at(nodes, first_bad))
        assert found.first_bad == nodes[first_bad]
        assert found.untestable == ()
        assert found.edges == ((nodes[first_bad - 1], nodes[first_bad]),)
        most = max(most, len(search.answered))
    assert most == math.ceil(math.log2(count - 1)) == questions_at_most(count - 1), "as few as any method needs"


@pytest.mark.parametrize("count", range(2, 17))
def test_every_answer_moves_towards_the_change(count: int) -> None:
    """After good nothing at or before that model is asked about, after bad nothing at or after it."""
    nodes = names(count)
    for first_bad in range(1, count):
        search = Bisection.chain(nodes)
        low, high = 0, count - 1
        while (node := search.next_node()) is not None:
            place = nodes.index(node)
            assert low < place < high
            bad = place >= first_bad
            low, high = (low, place) if bad else (place, high)
            search.record(node, "bad" if bad else "good")
        assert (low, high) == (first_bad - 1, first_bad)


@pytest.mark.parametrize("count", range(3, 10))
def test_every_pattern_of_models_that_cannot_be_tested_leaves_the_smallest_range(count: int) -> None:
    nodes = names(count)
    for size in range(count - 1):
        for untestable in map(frozenset, itertools.combinations(nodes[1:-1], size)):
            for first_bad in range(1, count):
                search = Bisection.chain(nodes)
                found = run(search, changed_at(nodes, first_bad, untestable))
                tested = [place for place, node in enumerate(nodes) if node not in untestable]
                low = max(place for place in tested if place < first_bad)
                high = min(place for place in tested if place >= first_bad)
                assert found.first_bad == nodes[high]
                assert found.untestable == tuple(nodes[low + 1 : high])
                assert (nodes[low], nodes[low + 1]) in found.edges
                assert len(search.answered) <= questions_at_most(count - 1, size)


def test_what_comes_and_goes_ends_at_a_good_model_before_a_bad_one() -> None:
    """Every way in which nine models may be good and bad between a good and a bad end."""
    nodes = names(9)
    for pattern in itertools.product([False, True], repeat=7):
        bad = (False, *pattern, True)
        found = run(Bisection.chain(nodes), lambda node, bad=bad: "bad" if bad[nodes.index(node)] else "good")  # type: ignore[misc]
        place = nodes.index(found.first_bad)
        assert bad[place]
        assert not bad[place - 1]


@given(count=st.integers(3, 40), first_bad=st.data(), stop=st.integers(0, 8))
@settings(deadline=None)
def test_a_bisection_is_taken_up_from_its_answers(count: int, first_bad: st.DataObject, stop: int) -> None:
    nodes = names(count)
    place = first_bad.draw(st.integers(1, count - 1))
    untestable = frozenset(first_bad.draw(st.sets(st.sampled_from(nodes[1:-1]))))
    oracle = changed_at(nodes, place, untestable)
    whole = Bisection.chain(nodes)
    found = run(whole, oracle)
    again = Bisection.chain(nodes, known=whole.answered[:stop])
    assert again.answered == whole.answered[:stop]
    assert run(again, oracle) == found
    assert again.answered == whole.answered
    # Answers to questions that are not asked any more change nothing.
    other = Bisection.chain(nodes, known=[*whole.answered[::-1], Answered("9.9.9", "bad")])
    assert other.next_node() is None
    assert other.result() == found


# -- family trees -----------------------------------------------------------------------------


def trees(count: int) -> Iterator[Tree]:
    """Every way in which models may be made from models that came before them."""
    nodes = names(count)
    choices = [
        [parents for size in range(place + 1) for parents in itertools.combinations(nodes[:place], size)]
        for place in range(count)
    ]
    for parents in itertools.product(*choices):
        yield dict(zip(nodes, parents, strict=True))


@cache
def _above(parents: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for node, of in parents:  # older ones come first
        found[node] = frozenset({node}).union(*(found[parent] for parent in of))
    return found


def ancestors(tree: Tree) -> dict[str, frozenset[str]]:
    return _above(tuple(tree.items()))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_model_that_brought_a_fault_into_a_family_is_found_in_every_small_family(count: int) -> None:
    for tree in trees(count):
        above, last = ancestors(tree), names(count)[-1]
        for origin in sorted(above[last]):
            search = Bisection(tree, last)
            found = run(search, lambda node, origin=origin, above=above: "bad" if origin in above[node] else "good")  # type: ignore[misc]
            assert found.first_bad == origin
            assert found.untestable == ()
            assert found.edges == tuple((parent, origin) for parent in tree[origin])
            assert len(search.answered) < len(above[last])


@pytest.mark.parametrize("count", [3, 4])
def test_families_with_models_that_cannot_be_tested_name_what_remains(count: int) -> None:
    """The origin is among what is named, and nothing is named that a tested model had decided."""
    for tree in trees(count):
        above, last = ancestors(tree), names(count)[-1]
        others = sorted(above[last] - {last})
        for size in range(len(others) + 1):
            for untestable in map(set, itertools.combinations(others, size)):
                for origin in sorted(above[last]):
                    search = Bisection(tree, last)
                    found = run(search, _oracle(above, origin, untestable))
                    assert origin in {found.first_bad, *found.untestable}
                    assert set(found.untestable) <= untestable
                    assert origin in above[found.first_bad]
                    assert found.first_bad not in untestable
                    good = {one.node for one in search.answered if one.answer == "good"}
                    for node in found.untestable:
                        assert not any(node in above[one] for one in good), "a good model vouches for it"
                        assert node in above[found.first_bad]


def _oracle(above: Mapping[str, frozenset[str]], origin: str, untestable: set[str]) -> Oracle:
    def oracle(node: str) -> Answer:
        if node in untestable:
            return "untestable"
        return "bad" if origin in above[node] else "good"

    return oracle


def test_of_two_origins_one_is_found() -> None:
    for tree in trees(4):
        above, last = ancestors(tree), names(4)[-1]
        for origins in itertools.combinations(sorted(above[last]), 2):
            found = run(
                Bisection(tree, last),
                lambda node, origins=origins, above=above: "bad" if set(origins) & above[node] else "good",  # type: ignore[misc]
            )
            assert found.first_bad in origins


def fewest(tree: Tree, last: str) -> int:
    """Questions that the best of all methods needs in the worst case, by trying everything."""
    above = ancestors(tree)

    @cache
    def worst(candidates: frozenset[str]) -> int:
        if len(candidates) == 1:
            return 0
        parts = {(candidates & above[node], candidates - above[node]) for node in candidates}
        return 1 + min(max(worst(one), worst(other)) for one, other in parts if one and other)

    return worst(above[last])


def test_the_best_question_first_is_nearly_the_best_order() -> None:
    """In families of up to five at most one question more than any method needs."""
    for count in (2, 3, 4, 5):
        for tree in trees(count):
            above, last = ancestors(tree), names(count)[-1]
            most = 0
            for origin in sorted(above[last]):
                search = Bisection(tree, last)
                run(search, lambda node, origin=origin, above=above: "bad" if origin in above[node] else "good")  # type: ignore[misc]
                most = max(most, len(search.answered))
            assert most <= fewest(tree, last) + 1


def test_a_merge_of_two_lines_inherits_from_the_one_that_is_bad() -> None:
    tree: Tree = {
        "trunk 0.1.0": (),
        "trunk 0.2.0": ("trunk 0.1.0",),
        "prose 0.1.0": ("trunk 0.1.0",),
        "prose 0.2.0": ("prose 0.1.0",),
        "merged 0.1.0": ("trunk 0.2.0", "prose 0.2.0"),
        "small 0.1.0": ("merged 0.1.0",),
    }
    bad = {"prose 0.2.0", "merged 0.1.0", "small 0.1.0"}
    found = run(Bisection(tree, "small 0.1.0", good=["trunk 0.1.0"]), lambda node: "bad" if node in bad else "good")
    assert found.first_bad == "prose 0.2.0"
    assert found.edges == (("prose 0.1.0", "prose 0.2.0"),)
    assert found.reason == "prose 0.2.0 is the first bad one; what it was made from, prose 0.1.0, is good"
    own = run(Bisection(tree, "small 0.1.0"), lambda node: "good")
    assert own.edges == (("merged 0.1.0", "small 0.1.0"),), "not inherited"
    always = run(Bisection(tree, "small 0.1.0"), lambda node: "bad")
    assert (always.first_bad, always.edges) == ("trunk 0.1.0", ())
    assert "from the beginning" in always.reason


def test_what_remains_is_named() -> None:
    nodes = names(9)
    found = run(Bisection.chain(nodes), changed_at(nodes, 5, frozenset(nodes[3:6])))
    assert found.reason == "0.1.6 is bad, or 0.1.3, 0.1.4, 0.1.5 before it: those could not be tested"
    assert (nodes[2], nodes[3]) in found.edges


def test_ends_that_make_no_sense() -> None:
    nodes = names(4)
    tree: Tree = {node: tuple(nodes[place - 1 : place]) if place else () for place, node in enumerate(nodes)}
    with pytest.raises(UsageError, match="both ends"):
        Bisection(tree, nodes[1], nodes[1:2])
    with pytest.raises(UsageError, match=r"0\.1\.3 was made from 0\.1\.1; the good end comes first"):
        Bisection(tree, nodes[1], nodes[3:])
    with pytest.raises(UsageError, match="was not made from"):
        Bisection({**tree, "else": ()}, nodes[3], ["else"])
    with pytest.raises(UsageError, match="two different ends"):
        Bisection.chain(nodes[:1])
    with pytest.raises(BrokenChainError, match="its own ancestor"):
        Bisection({"a": ("b",), "b": ("c",), "c": ("a",)}, "a")
    with pytest.raises(BrokenChainError, match="nothing is known"):
        Bisection({"a": ("b",)}, "a")


def test_asking_twice_changes_nothing_and_only_the_wanted_model_is_taken() -> None:
    search = Bisection.chain(names(6))
    wanted = search.next_node()
    assert wanted == search.next_node() == "0.1.2"
    with pytest.raises(AssertionError):
        search.record("0.1.1", "good")
    with pytest.raises(AssertionError, match="not over"):
        search.result()
