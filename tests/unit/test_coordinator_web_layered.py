"""Laws of drawings in layers."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.web.layered import crossings, draw, nearest_places

Edge = tuple[int, int]


@st.composite
def families(data: st.DrawFn) -> tuple[list[int], list[Edge]]:
    """Nodes, and edges from lower to higher numbers: a family without circles."""
    count = data(st.integers(0, 14))
    pairs = list(combinations(range(count), 2))
    edges = data(st.lists(st.sampled_from(pairs), max_size=24)) if pairs else []
    return data(st.permutations(range(count))), edges


@settings(deadline=None)
@given(family=families())
def test_parents_are_above_their_children_and_nobody_on_top_of_another(family: tuple[list[int], list[Edge]]) -> None:
    nodes, edges = family
    drawn = draw(nodes, edges)
    assert set(drawn.places) == set(nodes)
    for parent, child in edges:
        assert drawn.places[parent][1] < drawn.places[child][1]
    taken = list(drawn.places.values())
    taken += [bend for path in drawn.paths.values() for bend in path[1:-1]]
    for layer in range(drawn.layers):
        row = sorted(place for place, at in taken if at == layer)
        assert all(right - left >= 1 - 2e-3 for left, right in pairwise(row))
    assert all(0 <= place <= drawn.width for place, _ in taken)


@settings(deadline=None)
@given(family=families())
def test_an_edge_goes_from_parent_to_child_through_every_layer_between(family: tuple[list[int], list[Edge]]) -> None:
    nodes, edges = family
    drawn = draw(nodes, edges)
    assert set(drawn.paths) == set(edges)
    for (parent, child), path in drawn.paths.items():
        assert path[0] == drawn.places[parent]
        assert path[-1] == drawn.places[child]
        assert [layer for _, layer in path] == list(range(path[0][1], path[-1][1] + 1))


@settings(deadline=None)
@given(family=families())
def test_the_same_family_is_drawn_the_same(family: tuple[list[int], list[Edge]]) -> None:
    assert draw(*family) == draw(*family)


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.floats(-50, 50), st.floats(0.1, 9)), max_size=12), others=st.data())
def test_places_are_in_order_and_no_other_ones_are_nearer(
    pairs: list[tuple[float, float]], others: st.DataObject
) -> None:
    wishes, weights = [wish for wish, _ in pairs], [weight for _, weight in pairs]
    found = nearest_places(wishes, weights)
    assert all(right - left >= 1 - 1e-9 for left, right in pairwise(found))
    steps = others.draw(st.lists(st.floats(1, 5), min_size=len(wishes), max_size=len(wishes)))
    start = others.draw(st.floats(-60, 60))
    another = [start + sum(steps[:number]) for number in range(len(wishes))]
    assert _distance(found, pairs) <= _distance(another, pairs) + 1e-6


def _distance(places: list[float], pairs: list[tuple[float, float]]) -> float:
    return sum(weight * (place - wish) ** 2 for place, (wish, weight) in zip(places, pairs, strict=True))


@settings(deadline=None)
@given(ends=st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), max_size=5))
def test_crossings_are_counted_as_by_looking_at_every_pair(ends: list[list[int]]) -> None:
    above, below = list(range(len(ends))), [10, 11, 12, 13, 14, 15]
    down = {node: [10 + end for end in its] for node, its in enumerate(ends)}
    lines = [(node, end) for node, its in enumerate(ends) for end in its]
    by_hand = sum((one[0] - other[0]) * (one[1] - other[1]) < 0 for one, other in combinations(lines, 2))
    assert crossings(above, below, down) == by_hand


def test_a_chain_is_a_straight_line() -> None:
    drawn = draw(range(50), [(number, number + 1) for number in range(49)])
    assert {place for place, _ in drawn.places.values()} == {0.0}
    assert drawn.layers == 50


def test_the_trunk_stays_straight_whatever_grows_beside_it() -> None:
    trunk = [f"t{number}" for number in range(8)]
    edges = [(trunk[number], trunk[number + 1]) for number in range(7)]
    edges += [(trunk[number], f"{side}{number}") for number in (0, 3, 4) for side in "abc"]
    nodes = list(dict.fromkeys(name for edge in edges for name in edge))
    drawn = draw(nodes, edges, trunk)
    assert max(drawn.places[name][0] for name in trunk) - min(drawn.places[name][0] for name in trunk) < 0.01


def test_crossings_that_need_not_be_are_undone() -> None:
    drawn = draw(["a", "b", "c", "d"], [("a", "d"), ("b", "c")])
    places = {name: place for name, (place, _) in drawn.places.items()}
    assert (places["a"] < places["b"]) == (places["d"] < places["c"])


def test_who_is_their_own_ancestor_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="own ancestor"):
        draw([1, 2], [(1, 2), (2, 1)])
