"""Tests of attached fine-tunes: from a suite's file to numbers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError, ConfigValueError
from barnraise.model_config import ByteLMConfig
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.sections import parse_section
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.examples import Examples, parse_rows
from coordinator.acceptance.kinds import make_kind
from coordinator.acceptance.measuring import first_examples, measure, measurement
from coordinator.acceptance.models.attaching import make_attachment
from coordinator.acceptance.models.attachments import parse_attachment
from coordinator.acceptance.models.subject import ByteSubject, Subject
from coordinator.acceptance.models.tuning import Tuning
from coordinator.acceptance.run_suite import Contender, run_suite
from coordinator.acceptance.supply import no_windows, of_folder
from coordinator.conductor.desk import Desk
from coordinator.run_setup import prepare_run
from merge.architectures import build, flat_of, space_of
from simulator import tiny_config

MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=16, context=12)
TEXTS = [f"the value of name_{n} is {n * n}".encode() for n in range(40)]
LINES = b"".join(json.dumps({"text": text.decode()}).encode() + b"\n" for text in TEXTS)
TUNING = Tuning(40, learning_rate=1e-2)


@cache
def base() -> ByteSubject:
    module = build(MODEL)
    space = space_of(module)
    return ByteSubject(flat_of(module, space), MODEL, space)


@cache
def made() -> bytes:
    return make_attachment(base(), TEXTS, TUNING)


def options(**more: float | str) -> dict[str, float | str]:
    return {"attachment": "names", **more}


def asked_for(**more: Any) -> AcceptanceTestConfig:
    asked = {"name": "kept", "kind": "attached", "data": "lines", "examples": 16, "margin": 0.1, "options": options()}
    return AcceptanceTestConfig.model_validate(asked | more)


def suite(*tests: AcceptanceTestConfig, hidden: bool = False) -> SuiteConfig:
    return parse_section(
        SuiteConfig,
        {
            "data": {"lines": {"path": "lines.jsonl", "digest": digest_bytes(LINES)}},
            "attachments": {"names": {"path": "n.safetensors", "digest": digest_bytes(made()), "hidden": hidden}},
            "tests": [one.model_dump() for one in tests or (asked_for(),)],
        },
        source="a suite",
    )


def examples(train: bool = False) -> Examples:
    rows = parse_rows(LINES, digest_bytes(LINES), "lines")
    attachment = parse_attachment(made(), digest_bytes(made()), "names")
    return rows.beside(attachment, rows if train else Examples()).take(range(16))


def folder(path: Path) -> Path:
    (path / "lines.jsonl").write_bytes(LINES)
    (path / "n.safetensors").write_bytes(made())
    return path


# -- what is measured ------------------------------------------------------------------------


def test_it_measures_the_model_with_the_attachment() -> None:
    loss = measure(base(), AcceptanceTestConfig(name="l", kind="loss", data="lines", margin=1), examples()).values_N
    found = measure(base(), asked_for(), examples())
    tuned = base().tuned(TEXTS, TUNING)
    as_tuned = measure(tuned, AcceptanceTestConfig(name="l", kind="loss", data="lines", margin=1), examples()).values_N
    np.testing.assert_allclose(found.values_N, as_tuned, atol=1e-4)
    assert found.values_N.mean() < loss.mean() - 1
    assert found.notes["made"]["model"] == base().digest
    nothing = measure(base(), asked_for(options=options(scale=0.0)), examples())
    np.testing.assert_array_equal(nothing.values_N, loss)


def test_steps_go_on_from_the_attachment_and_are_the_same_every_time() -> None:
    asked = asked_for(options=options(steps=3, train="lines", learning_rate=1e-3, seed=5, batch=4))
    found, again = (measure(base(), asked, examples(train=True)).values_N for _ in range(2))
    attachment = parse_attachment(made(), digest_bytes(made()), "names")
    by_hand = base().adapted(attachment).tuned(TEXTS, Tuning(3, 1e-3, 4, 5))
    wanted = measure(by_hand, AcceptanceTestConfig(name="l", kind="loss", data="lines", margin=1), examples())
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(found, wanted.values_N)
    assert not np.array_equal(found, measure(base(), asked_for(), examples()).values_N)


def test_accuracy_is_right_or_wrong() -> None:
    found = measure(base(), asked_for(options=options(measures="accuracy")), examples()).values_N
    assert set(found.tolist()) <= {0.0, 1.0}
    assert make_kind(asked_for(options=options(measures="accuracy"))).metric.higher_is_better


def test_another_attachment_or_other_lines_to_train_on_are_another_measurement() -> None:
    rows = parse_rows(LINES, digest_bytes(LINES), "lines")
    other = make_attachment(base(), TEXTS, Tuning(1))
    attachments = [parse_attachment(data, digest_bytes(data), "names") for data in (made(), other)]
    kinds = [rows, *(rows.beside(one, train) for one in attachments for train in (Examples(), rows))]
    names = {measurement(base().digest, asked_for(), first_examples(asked_for(), one)) for one in kinds}
    assert len(names) == 5


def test_picking_examples_keeps_what_stands_beside_them() -> None:
    picked = examples(train=True).take([3, 1])
    assert picked.attachment is not None
    assert len(picked.train) == 40
    assert [row["text"] for row in picked.rows] == [TEXTS[3].decode(), TEXTS[1].decode()]


def test_a_model_that_is_no_trunk_cannot_get_one() -> None:
    class Other:
        digest, context, end, size_bytes = "b3:x", 8, None, 1

    other: Any = Other()
    subject: Subject = other
    with pytest.raises(AcceptanceError, match="only be put on a trunk of a run"):
        measure(subject, asked_for(), examples())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"attachment": ""}, "the name of one in"),
        ({"attachment": "names", "steps": 3}, "the name of a data set"),
        ({"attachment": "names", "train": "lines"}, "without steps nothing is trained"),
        ({"attachment": "names", "steps": 2000, "train": "lines"}, "more is no cheap test"),
        ({"attachment": "names", "measures": "size"}, "measures"),
        ({"attachment": "names", "seed": -1}, "0 or more"),
        ({"attachment": "names", "learning_rate": 0.0}, "a number in"),
        ({"attachment": "names", "batch": 0}, "from 1 to 4096"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float | str], said: str) -> None:
    with pytest.raises(AcceptanceError, match=said):
        make_kind(asked_for(options=wrong))


# -- suites ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (asked_for(options={"attachment": "others"}), "no attachment 'others'; there are names"),
        (asked_for(options=options(steps=1, train="more")), "no data set 'more'; there are lines"),
    ],
)
def test_a_suite_that_lacks_what_a_test_names_is_refused(test: AcceptanceTestConfig, said: str) -> None:
    with pytest.raises(ConfigValueError, match=said):
        suite(test)


def test_attachments_are_part_of_what_a_release_promises() -> None:
    pinned = suite()
    other = pinned.attachments["names"].model_copy(update={"digest": "b3:" + "0" * 64})
    assert pinned.digest != pinned.model_copy(update={"attachments": {"names": other}}).digest


def test_a_suite_runs_from_its_folder_and_a_spoilt_candidate_fails_it(tmp_path: Path) -> None:
    asked = suite(asked_for(options=options(steps=2, train="lines")))
    supply = of_folder(asked, folder(tmp_path), no_windows(asked.tests))
    spoilt = base().adapted(parse_attachment(made(), digest_bytes(made()), "names"), -1.0)
    models = [Contender(one.digest, one.digest, lambda one=one: one) for one in (base(), spoilt)]  # type: ignore[misc]
    same = run_suite(asked, models[0], models[0], supply.of)
    worse = run_suite(asked, models[1], models[0], supply.of)
    assert same.verdict is not None
    assert same.verdict.passed, same.reason
    assert worse.verdict is not None
    assert not worse.verdict.passed, worse.reason


def test_a_hidden_attachment_that_is_not_there_is_left_out_and_a_public_one_is_missed(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "n.safetensors").unlink()
    asked = suite(hidden=True)
    skipped = of_folder(asked, tmp_path, no_windows(asked.tests)).of(asked.tests[0])
    assert skipped.skip == "attachment names is hidden: only the coordinator has it"
    asked = suite()
    with pytest.raises(AcceptanceError, match=r"attachment names: .* cannot be read"):
        of_folder(asked, tmp_path, no_windows(asked.tests)).of(asked.tests[0])


@pytest.mark.parametrize("hidden", [False, True])
def test_a_coordinator_looks_at_the_same(tmp_path: Path, hidden: bool) -> None:
    asked = suite(asked_for(options=options(steps=2, train="lines")), hidden=hidden)
    wanted = asked.model_dump(mode="json", include={"data", "attachments", "tests"})
    desk = Desk(tmp_path, tiny_config(acceptance=wanted), "")
    desk.public.put(LINES)
    (desk.private if hidden else desk.public).put(made())
    at_hand = desk.examples(asked.tests[0])
    supplied = of_folder(asked, folder(tmp_path), no_windows(asked.tests)).of(asked.tests[0]).examples
    assert at_hand.digest == supplied.digest
    assert at_hand.attachment is not None
    assert len(at_hand.train) == 40


@pytest.mark.parametrize("hidden", [False, True])
def test_a_run_keeps_what_its_suite_pins_and_publishes_what_is_not_hidden(tmp_path: Path, hidden: bool) -> None:
    (tmp_path / "suite").mkdir()
    source = folder(tmp_path / "suite") / "run.toml"
    source.write_text(
        f"""
        name = "tiny"
        [model]
        dim = 16
        layers = 1
        heads = 2
        hidden = 16
        context = 12
        [data.shards]
        text = ["json", "csv"]
        [acceptance.data.lines]
        path = "lines.jsonl"
        digest = "{digest_bytes(LINES)}"
        [acceptance.attachments.names]
        path = "n.safetensors"
        digest = "{digest_bytes(made())}"
        hidden = {str(hidden).lower()}
        [[acceptance.tests]]
        name = "kept"
        kind = "attached"
        data = "lines"
        examples = 16
        margin = 0.1
        options = {{ attachment = "names" }}
        """
    )
    run = RunFolder(tmp_path / "run")
    prepare_run(run, source)
    assert BlobStore(run.private).has(digest_bytes(made())) is hidden
    assert BlobStore(run.public).has(digest_bytes(made())) is not hidden
    (tmp_path / "suite" / "n.safetensors").write_bytes(b"another")
    with pytest.raises(AcceptanceError, match="attachment names is b3:"):
        prepare_run(RunFolder(tmp_path / "another"), source)
