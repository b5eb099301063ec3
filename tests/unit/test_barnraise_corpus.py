"""The corpus: complete, disjoint, the same for everybody, and closed to names that are paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.corpus import Corpus, is_held_out
from barnraise.data_config import StdlibData
from barnraise.errors import ConfigValueError

SHARDS = {"text": ("json", "csv"), "more": ("json", "missing-here")}


def standard_library(tmp_path: Path) -> Path:
    """A small stand-in for Python's own."""
    root = tmp_path / "lib"
    files = {"csv.py": "csv", "secret.py": "secret", "json/test/test_it.py": "t", "json/tests/more.py": "t"}
    files |= {f"json/part{i}.py": f"part {i}\n" for i in range(30)}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside.py").write_text("outside")
    return root


def corpus(tmp_path: Path, shards: dict[str, tuple[str, ...]] | None = None) -> Corpus:
    data = StdlibData(held_out_percent=20, shards=shards or SHARDS)
    return Corpus(data, standard_library(tmp_path), frozenset({"json", "csv"}))


def test_the_two_splits_are_disjoint_and_complete(tmp_path: Path) -> None:
    found = corpus(tmp_path)
    train, held_out = found.files("text", "train"), found.files("text", "held-out")
    assert set(train) & set(held_out) == set()
    assert sorted(train + held_out) == sorted(["csv.py", *(f"json/part{i}.py" for i in range(30))])
    assert train
    assert held_out


def test_a_file_is_on_the_same_side_in_every_shard(tmp_path: Path) -> None:
    found = corpus(tmp_path)
    assert set(found.files("more", "held-out")) <= set(found.files("text", "held-out"))


@settings(deadline=None)
@given(path=st.text(min_size=1, max_size=40), percent=st.integers(1, 49))
def test_holding_out_more_keeps_what_was_held_out(path: str, percent: int) -> None:
    assert is_held_out(path, percent) <= is_held_out(path, percent + 1)


def test_about_the_configured_share_is_held_out() -> None:
    held_out = sum(is_held_out(f"module/part{i}.py", 10) for i in range(2000))
    assert 140 <= held_out <= 260


def test_every_file_ends_in_a_newline(tmp_path: Path) -> None:
    found = corpus(tmp_path, {"one": ("csv",)})
    split = "held-out" if is_held_out("csv.py", 20) else "train"
    assert found.text("one", split) == b"csv\n"


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "secret", "json/../secret", "json.part1", "", ".", "json\x00"]
)
def test_only_known_module_names_select_anything(tmp_path: Path, name: str) -> None:
    found = corpus(tmp_path, {"bad": (name,)})
    assert found.files("bad", "train") == found.files("bad", "held-out") == ()
    with pytest.raises(ConfigValueError, match="has no train file"):
        found.text("bad", "train")


def test_a_shard_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigValueError, match="there are text, more"):
        corpus(tmp_path).text("poetry", "train")


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    first = corpus(tmp_path).digest
    assert corpus(tmp_path).digest == first
    changed = corpus(tmp_path)
    (changed.root / "json" / "part3.py").write_text("other\n")
    assert changed.digest != first


def test_the_real_library_has_text_for_both_splits() -> None:
    found = Corpus.of(StdlibData(shards={"text": ("email", "html", "json", "xml"), "tools": ("unittest", "idlelib")}))
    for shard in ("text", "tools"):
        assert len(found.text(shard, "train")) > len(found.text(shard, "held-out")) > 10_000
        assert not any("test" in Path(path).parts for path in found.files(shard, "train"))
