"""Attachments: what is put on a model comes out as it was meant, and what does not fit is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError
from barnraise.model_config import ByteLMConfig
from coordinator.acceptance.models.attaching import make_attachment
from coordinator.acceptance.models.attachments import Attachment, LowRank, parse_attachment, write_attachment
from coordinator.acceptance.models.subject import ByteSubject
from coordinator.acceptance.models.tuning import Tuning
from laws import examples
from merge.architectures import build, flat_of, space_of

MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=16, context=12)
TEXTS = [f"the value of name_{n} is {n * n}".encode() for n in range(40)]
Array = NDArray[np.float32]


@cache
def base() -> ByteSubject:
    module = build(MODEL)
    space = space_of(module)
    return ByteSubject(flat_of(module, space), MODEL, space)


@cache
def made(steps: int = 3) -> bytes:
    return make_attachment(base(), TEXTS, Tuning(steps), "tiny 0.1.0")


def read(data: bytes) -> Attachment:
    return parse_attachment(data, digest_bytes(data), "a")


def file(tensors: Mapping[str, Array], **said: Any) -> bytes:
    return write_attachment(tensors, {}, **said)


def foreign(tensors: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    """A file as another program writes it, without our metadata: name -> type, shape, bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(raw)]}
        place += len(raw)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(raw for _, _, raw in tensors.values())


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


# -- laws ------------------------------------------------------------------------------------


def test_a_delta_of_zeros_gives_the_same_model() -> None:
    zeros = {name: np.zeros_like(values) for name, values in base().made_into(base()).items()}
    assert base().adapted(read(file(zeros))).digest == base().digest


def test_a_fine_tune_comes_back_within_two_roundings_on_the_model_that_it_was_made_on() -> None:
    """Not bit for bit: the difference is rounded once, and the sum once more."""
    tuned = base().tuned(TEXTS, Tuning(3))
    change, back = base().made_into(tuned), base().made_into(base().adapted(read(made())))
    assert any(values.any() for values in change.values())
    start = base().made_into(ByteSubject(np.zeros_like(base()._flat_P), MODEL, base()._space))
    half = np.finfo(np.float32).eps / 2
    for name, values in change.items():
        bound = 4 * half * (np.abs(values) + np.abs(start[name]))
        assert (np.abs(values - back[name]) <= bound).all()


@settings(deadline=None, max_examples=examples(25))
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.floats(-4, 4, width=32))
def test_low_rank_is_its_product(rank: int, rows: int, columns: int, scale: float) -> None:
    a_RI, b_OR, start = floats(rank, columns), floats(rows, rank, seed=1), floats(rows, columns, seed=2)
    found = read(file({"m.lora_A": a_RI, "m.lora_B": b_OR}, scale=scale)).applied_to({"m": start})
    wanted = start.astype(np.float64) + scale * (b_OR.astype(np.float64) @ a_RI.astype(np.float64))
    assert found["m"].dtype == np.float32
    np.testing.assert_allclose(found["m"], wanted, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=examples(25))
@given(st.floats(-3, 3, width=32))
def test_scale_multiplies_what_is_added_and_nothing_else(scale: float) -> None:
    start, change = floats(3, 4), floats(3, 4, seed=1)
    attachment = read(file({"m": change}))
    np.testing.assert_array_equal(attachment.applied_to({"m": start}, scale)["m"], start + np.float32(scale) * change)
    assert attachment.applied_to({"m": start, "other": start})["other"] is start


def test_a_head_replaces_the_models_own() -> None:
    head = floats(2, 3, seed=1)
    found = read(file({"head": head}, form="replace")).applied_to({"head": floats(2, 3), "trunk": floats(4)})
    np.testing.assert_array_equal(found["head"], head)
    np.testing.assert_array_equal(found["trunk"], floats(4))


def test_the_model_itself_stays_as_it_is() -> None:
    before = base()._flat_P.copy()
    base().adapted(read(made()))
    base().tuned(TEXTS, Tuning(2))
    np.testing.assert_array_equal(base()._flat_P, before)


def test_the_same_training_gives_the_same_file_and_another_seed_another_model() -> None:
    assert make_attachment(base(), TEXTS, Tuning(3), "tiny 0.1.0") == made()
    first, other = (dict(base().made_into(base().tuned(TEXTS, Tuning(3, seed=seed)))) for seed in (0, 1))
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_training_lowers_the_loss_of_what_is_trained_on() -> None:
    from coordinator.acceptance.asking.evaluate import score_texts

    long = base().tuned(TEXTS, Tuning(60, learning_rate=1e-2))
    assert score_texts(long, TEXTS).bits_N.sum() < 0.7 * score_texts(base(), TEXTS).bits_N.sum()


def test_a_file_says_what_it_was_made_of() -> None:
    said = read(made()).made
    assert said["model"] == base().digest
    assert said["release"] == "tiny 0.1.0"
    assert said["texts"] == digest_bytes(b"\n".join(TEXTS))
    assert said["training"] == dataclasses.asdict(Tuning(3))


def test_too_little_text_is_refused() -> None:
    with pytest.raises(AcceptanceError, match="5 bytes to train on, a window needs 13"):
        make_attachment(base(), [b"short"], Tuning(1))


# -- names and types of other programs -------------------------------------------------------


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_files_as_peft_writes_them(dtype: str) -> None:
    """Small whole numbers, which all three types hold."""
    a_RI, b_OR = np.array([[1, 2, 4]], np.float32), np.array([[1], [-2]], np.float32)

    def raw(values: Array) -> bytes:
        if dtype == "BF16":
            return (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        return values.astype("<f4" if dtype == "F32" else "<f2").tobytes()

    module = "base_model.model.model.layers.0.self_attn.o_proj"
    data = foreign(
        {
            f"{module}.lora_A.weight": (dtype, [1, 3], raw(a_RI)),
            f"{module}.lora_B.weight": (dtype, [2, 1], raw(b_OR)),
        }
    )
    found = read(data)
    (name,) = found.changes
    assert name == "model.layers.0.self_attn.o_proj.weight"
    applied = found.applied_to({name: np.zeros((2, 3), np.float32)}, scale=2.0)[name]
    np.testing.assert_array_equal(applied, 2 * b_OR @ a_RI)


def test_whole_tensors_beside_low_rank_ones_are_those_that_peft_trained_and_saved() -> None:
    head = np.array([5.0], np.float32)
    data = foreign(
        {
            "base_model.model.m.lora_A.weight": ("F32", [1, 1], np.array([2], np.float32).tobytes()),
            "base_model.model.m.lora_B.weight": ("F32", [1, 1], np.array([3], np.float32).tobytes()),
            "base_model.model.head.bias": ("F32", [1], head.tobytes()),
        }
    )
    found = read(data).applied_to({"m.weight": np.ones((1, 1), np.float32), "head.bias": np.ones(1, np.float32)}, 0.5)
    assert found["m.weight"].tolist() == [[4.0]]
    assert found["head.bias"].tolist() == [5.0]


# -- refused ---------------------------------------------------------------------------------


def test_a_model_that_has_grown_is_named_as_the_reason() -> None:
    attachment = read(file({"m": floats(2, 3)}))
    with pytest.raises(AcceptanceError, match=r"'m' of shape \[2, 3\], the model has it as \[4, 3\]: .* has grown"):
        attachment.applied_to({"m": floats(4, 3)})
    with pytest.raises(AcceptanceError, match=r"made on another architecture"):
        attachment.applied_to({"m": floats(2, 2)})
    with pytest.raises(AcceptanceError, match=r"another architecture"):
        attachment.applied_to({"m": floats(6)})


def test_a_tensor_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(AcceptanceError, match=r"'gone', which is none of the model's 1 tensors"):
        read(file({"gone": floats(2)})).applied_to({"m": floats(2)})


def test_a_scale_that_multiplies_nothing_is_refused() -> None:
    head = read(file({"head": floats(2)}, form="replace"))
    with pytest.raises(AcceptanceError, match=r"it replaces 1 tensors, so a scale of 0.5 means nothing"):
        head.applied_to({"head": floats(2)}, 0.5)


def test_low_rank_of_another_shape_is_refused() -> None:
    pair = Attachment({"m": LowRank(floats(1, 3), floats(2, 1))})
    with pytest.raises(AcceptanceError, match=r"of shape \[2, 3\], the model has it as \[3, 2\]"):
        pair.applied_to({"m": floats(3, 2)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(AcceptanceError, match="1 values of 'm' are not finite"):
        read(file({"m": np.array([1, value], np.float32)}))


def test_other_bytes_than_those_pinned_are_refused() -> None:
    with pytest.raises(AcceptanceError, match=r"attachment a is b3:.*, the suite pins b3:"):
        parse_attachment(made(), "b3:" + "0" * 64, "a")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes, a safetensors file at least 8"),
        (b"\x80\x04pickled", "no safetensors file"),
        (file({}), "changes nothing"),
        (foreign({"m": ("I64", [1], bytes(8))}), "is of type I64, expected one of F32"),
        (foreign({"m": ("F32", [1], bytes(4))}), "does not say whether its tensors are added or replace"),
        (foreign({"m.lora_embedding_A": ("F32", [1, 1], bytes(4))}), "part of a low-rank change that is not read"),
        (foreign({"m.lora_A": ("F32", [1, 1], bytes(4))}), "'m' needs one matrix lora_A and one lora_B"),
        (file({"m.lora_A": floats(2, 3), "m.lora_B": floats(4, 1)}), "expected one rank in both"),
        (file({"m": floats(4, 3), "m.lora_A": floats(1, 3), "m.lora_B": floats(4, 1)}), "no whole tensor beside"),
        (file({"m.lora_A": floats(3), "m.lora_B": floats(3)}), "needs one matrix"),
        (file({"m": floats(1)}, scale=float("inf")), "its scale inf"),
        (file({"m": floats(1)}, form="add"), "its form is 'add'"),
    ],
)
def test_what_is_no_attachment_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(AcceptanceError, match=said):
        read(data)


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_a_file_that_was_altered_is_an_attachment_or_our_error(data: st.DataObject) -> None:
    whole = bytearray(file({"a": floats(2, 3), "m.lora_A": floats(1, 3), "m.lora_B": floats(2, 1)}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for altered in (bytes(whole), bytes(whole[:cut])):
        with contextlib.suppress(AcceptanceError):
            read(altered)
