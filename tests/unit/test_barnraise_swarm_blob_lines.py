"""Questions and answers between nodes: what strangers send is one of few things, or refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from barnraise.errors import SwarmError
from barnraise.swarm.blob_choice import Has
from barnraise.swarm.blob_lines import LINE_MAX_BYTES, Question, question_of, state_line, state_of, usable

DIGEST = "b3:" + 64 * "a"
PEER = "12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3)


@pytest.mark.parametrize("question", [Question(DIGEST), Question(DIGEST, wants_bytes=True)])
def test_a_question_is_read_as_it_was_asked(question: Question) -> None:
    assert question_of(question.line()) == question
    assert len(question.line()) <= LINE_MAX_BYTES


@pytest.mark.parametrize("has", Has)
def test_an_answer_is_read_as_it_was_given(has: Has) -> None:
    assert state_of(state_line(has)) is has


@given(st.binary(max_size=600))
@example(b"")
@example(b"\n")
@example(b"[" * 511 + b"\n")
@example(b'{"has": ["whole"]}\n')
@example(b'{"has": {}}\n')
@example(b'{"ask": [], "digest": "b3:"}\n')
def test_bytes_of_strangers_are_refused_and_nothing_else(line: bytes) -> None:
    for read in (question_of, state_of):
        with pytest.raises(SwarmError):
            read(line)


@given(st.dictionaries(st.sampled_from(["ask", "digest", "has"]), JSON))
def test_other_words_are_refused(value: dict[str, object]) -> None:
    line = json.dumps(value).encode() + b"\n"
    with pytest.raises(SwarmError):
        question_of(line)
    if value.get("has") not in [has.value for has in Has]:
        with pytest.raises(SwarmError):
            state_of(line)


@pytest.mark.parametrize("digest", ["", "b3:", "../../etc/passwd", "b3:" + 64 * "A", DIGEST + "\n", "b3:" + "/" * 64])
def test_a_name_that_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(SwarmError, match="names its digest"):
        question_of(json.dumps({"ask": "blob", "digest": digest}).encode() + b"\n")


def test_a_line_too_long_or_cut_off_is_refused() -> None:
    line = Question(DIGEST).line()
    for bad in (line[:-1], line[:-1] + b" " * LINE_MAX_BYTES + b"\n"):
        with pytest.raises(SwarmError, match="at most 512 bytes"):
            question_of(bad)


def test_names_that_cannot_be_ids_are_passed_over() -> None:
    assert usable([PEER, PEER, "me" * 20, "", "a" * 65, "../x", b"bytes", None, 7, PEER[:-1] + "0"], "me" * 20) == [
        PEER
    ]


def test_of_very_many_names_some_are_taken_and_no_name_is_sure_to_be() -> None:
    names = [PEER[:40] + f"{number:05}".replace("0", "z") for number in range(5_000)]
    taken = [set(usable(names, me)) for me in ("one", "two")]
    assert all(len(some) == 256 for some in taken)
    assert taken[0] != taken[1]
