"""Text in somebody's own files: all of it where it is text, a sentence where it is not, and no way out by a link."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import own_text
from barnraise.errors import ConfigValueError, MissingExtraError
from barnraise.own_text import Document, OwnFile, find_files, read_file


def written(path: Path, data: bytes | str) -> OwnFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return OwnFile(path, path.stat().st_size)


def arrow(path: Path, columns: dict[str, list[object]]) -> OwnFile:
    """A data set as ``save_to_disk`` of datasets writes it."""
    table = pyarrow.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return OwnFile(path, path.stat().st_size)


def test_patterns_find_files_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "other.md"):
        written(tmp_path / name, "text")
    found = find_files(["*.txt", "**/*.txt", "other.md"], tmp_path)
    assert [file.path.relative_to(tmp_path).as_posix() for file in found] == [
        "a.txt",
        "b.txt",
        "deep/er/c.txt",
        "other.md",
    ]
    assert find_files([str(tmp_path / "**" / "*.txt")], Path("/nowhere")) == find_files(["**/*.txt"], tmp_path)


def test_a_folder_means_its_data_set_or_all_files_below_it(tmp_path: Path) -> None:
    written(tmp_path / "notes" / "a.txt", "a")
    written(tmp_path / "notes" / "deep" / "b", "b")
    assert len(find_files(["notes"], tmp_path)) == 2
    written(tmp_path / "set" / "dataset_info.json", "{}")
    arrow(tmp_path / "set" / "data-00000-of-00001.arrow", {"text": ["x"]})
    assert [file.path.suffix for file in find_files(["set"], tmp_path)] == [".arrow"]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "notes" / "a.txt", "a")
    assert len(find_files(["~/notes/*.txt"], Path("/nowhere"))) == 1


def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    secret = written(tmp_path / "secret" / "key.txt", "secret")
    written(tmp_path / "notes" / "a.txt", "a")
    (tmp_path / "notes" / "out.txt").symlink_to(secret.path)
    (tmp_path / "notes" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "notes" / "in.txt").symlink_to(tmp_path / "notes" / "a.txt")
    (tmp_path / "notes" / "circle.txt").symlink_to(tmp_path / "notes" / "circle.txt")
    assert [file.path.name for file in find_files(["notes/**/*.txt", "notes"], tmp_path)] == ["a.txt"]


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a.txt", "a")
    with pytest.raises(ConfigValueError, match=r"b/\*\.txt matches no file; quote the pattern"):
        find_files(["*.txt", "b/*.txt"], tmp_path)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_text, "FILES_MAX", 2)
    for name in "abc":
        written(tmp_path / name, "x")
    with pytest.raises(ConfigValueError, match="more than 2 files"):
        find_files(["*"], tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"", "it is empty"),
        ("a.txt", b" \n\t", "it is empty"),
        ("a.bin", b"\x7fELF\0\0", "zero bytes"),
        ("a.txt", b"caf\xe9 au lait", "no UTF-8 text, at byte 3"),
        ("a.jsonl", b'{"text": "a"}\n{"text"', "line 2 is not JSON"),
        ("a.jsonl", b'{"body": "a"}\n', "no text under 'text', it has: body; name a field with --field"),
        ("a.jsonl", b"[1]\n", "it has: list"),
        ("a.arrow", b"no arrow at all", "no Arrow stream"),
    ],
)
def test_what_is_no_text_is_left_out_with_a_sentence(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    found = read_file(written(tmp_path / name, data))
    assert found.text == b""
    assert said in found.skipped


def test_a_file_that_is_gone_or_too_large_or_changes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "a.txt", "some text")
    monkeypatch.setattr(own_text, "FILE_BYTES_MAX", 8)
    assert "it has 9 bytes, at most 8 are read" in read_file(file).skipped
    monkeypatch.undo()
    file.path.write_text("some text, and more")
    assert "it changed" in read_file(file).skipped
    file.path.unlink()
    assert read_file(file).skipped == "it cannot be read (No such file or directory)"


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_json_lines_and_columns_give_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("same")
    lines = written(folder / "a.jsonl", "".join(json.dumps({"body": text}) + "\n" for text in texts))
    columns = arrow(folder / "a.arrow", {"body": list(texts), "n": [1] * len(texts)})
    assert read_file(lines, "body") == read_file(columns, "body")
    whole = "".join(text if text.endswith("\n") else text + "\n" for text in texts)
    assert read_file(lines, "body") == Document(whole.encode("utf-8", errors="replace"))


def test_columns_that_are_not_text_are_named(tmp_path: Path) -> None:
    file = arrow(tmp_path / "a.arrow", {"text": [1, 2]})
    assert "column 'text' is not text" in read_file(file).skipped
    assert "no column 'body', it has: text" in read_file(file, "body").skipped


def test_data_sets_without_pyarrow_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = arrow(tmp_path / "a.arrow", {"text": ["x"]})
    monkeypatch.setattr(own_text.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"barnraise\[datasets\]"):
        read_file(file)
