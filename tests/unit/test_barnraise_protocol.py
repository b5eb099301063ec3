"""What strangers say is read strictly, and a signature is good for one message of one kind by one key."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import BadNameError, BadSignatureError, MessageError, UnknownFieldError
from barnraise.identity import Identity
from barnraise.message import Signed, check_name, check_run_name
from barnraise.protocol import LeaseRequest, UpdateEnvelope

ADA = Identity.from_seed(b"a" * 32)
BOB = Identity.from_seed(b"b" * 32)
REQUEST = LeaseRequest(run="toy", name="Ada", nonce="a" * 32, at_ms=7)


@pytest.mark.parametrize("name", ["Ada", "Ada Lovelace", "\u30a8\u30a4\u30c0", "a.b", "x" * 64])
def test_names_of_people_are_fine(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " Ada",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "a\u202eb",  # right to left
        "a\u200bb",  # zero width
        "a\ufeffb",
        "a\u2028b",
        "\u3164",  # a letter that shows nothing
        "\ud800",
        "x" * 65,
    ],
)
def test_names_that_could_mislead_are_refused_without_repeating_them(name: str) -> None:
    with pytest.raises(BadNameError) as caught:
        LeaseRequest.read({"run": "toy", "name": name, "nonce": "a" * 32, "at_ms": 7})
    assert caught.value.reason.isprintable()
    assert caught.value.http_status == 400


@settings(deadline=None)
@given(st.text(max_size=70))
def test_a_name_is_printable_or_refused(text: str) -> None:
    try:
        name = check_name(text)
    except BadNameError:
        return
    assert all(unicodedata.category(char)[0] != "C" for char in name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "../a", "a\n", "x" * 65])
def test_a_model_name_is_as_in_a_package_index(name: str) -> None:
    with pytest.raises(BadNameError):
        check_run_name(name)


def test_a_signed_message_opens_as_what_it_is() -> None:
    assert Signed.make(REQUEST, ADA).open(LeaseRequest) == REQUEST


@pytest.mark.parametrize(
    "change",
    [
        {"key": BOB.public},
        {"signature": "0" * 128},
        {"body": REQUEST.model_dump() | {"at_ms": 8}},
        {"body": REQUEST.model_dump() | {"extra": 1}},
    ],
)
def test_a_signature_on_anything_else_is_refused(change: dict[str, Any]) -> None:
    signed = Signed.make(REQUEST, ADA).model_copy(update=change)
    with pytest.raises(BadSignatureError) as caught:
        signed.open(LeaseRequest)
    assert (caught.value.http_status, caught.value.exit_code) == (403, 5)


def test_a_signature_is_for_one_kind_of_message() -> None:
    with pytest.raises(BadSignatureError, match="signature on this update"):
        Signed.make(REQUEST, ADA).open(UpdateEnvelope)


@pytest.mark.parametrize("value", ["7", "7.0", 7.0, True, None, [7], -1, 1 << 53, 10**400])
def test_a_count_is_a_whole_number_and_nothing_else(value: Any) -> None:
    with pytest.raises(UnknownFieldError, match="at_ms"):
        LeaseRequest.read({"run": "toy", "name": "Ada", "nonce": "a" * 32, "at_ms": value})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(LeaseRequest.model_fields)) | st.text(max_size=9), values)
def test_any_value_anywhere_is_read_or_refused(field: str, value: Any) -> None:
    with suppress(MessageError):
        LeaseRequest.read(REQUEST.model_dump() | {field: value}).canonical()
