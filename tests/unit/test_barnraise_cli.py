"""The command: one envelope, exit codes of the families, commands that are imported when they run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from barnraise.cli import COMMANDS, run
from barnraise.cli.output import printable, table
from barnraise.errors import DiskFullError
from commands import told
from published import PublishedRun, published


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("BARNRAISE_FROM", raising=False)


@pytest.fixture
def releases(tmp_path: Path) -> PublishedRun:
    return published(tmp_path / "run", releases=3)


def test_the_life_of_a_consumer(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = ("--from", str(releases.public))
    _, listed = told(capsys, "ls", *mirror)
    assert [row["version"] for row in listed["result"]["releases"]] == ["0.1.0", "0.1.1", "0.1.2"]
    assert listed["result"]["releases"][2]["channels"] == ["nightly"]
    _, shown = told(capsys, "show", "0.1.1", *mirror)
    assert shown["result"]["manifest"]["parent"]["version"] == "0.1.0"
    assert shown["result"]["tests"]["loss-text"]["passed"] is True
    _, planned = told(capsys, "pull", "tiny-lm@^0.1", "--into", "model", "--dry-run", *mirror)
    assert planned["result"]["plan"][0].startswith("take the keyframe of 0.1.0")
    assert not list(Path().iterdir())
    _, pulled = told(capsys, "pull", "tiny-lm@nightly", "--into", "model", *mirror)
    assert (pulled["result"]["version"], pulled["result"]["changed"]) == ("0.1.2", True)
    _, again = told(capsys, "pull", "tiny-lm", "--into", "model", *mirror)
    assert again["result"]["changed"] is False
    _, verified = told(capsys, "verify", "model", *mirror)
    assert verified["result"]["patch"]["parent"] == "0.1.1"
    told(capsys, "pull", "tiny-lm@0.1.0", "--into", "first", *mirror)
    _, whole = told(capsys, "verify", "first", *mirror)
    assert (whole["result"]["keyframe"]["version"], whole["result"]["patch"]) == ("0.1.0", None)
    assert "stored whole" in whole["result"]["checked"][-1]
    assert shown["result"]["lineage"]["change"]["parameters_changed"] > 0
    assert shown["result"]["card"] == "# tiny-lm 0.1.1\n"


def test_a_converted_model(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = ("--from", str(releases.public))
    told(capsys, "pull", "tiny-lm", "--into", "half", "--dtype", "bf16", *mirror)
    _, alone = told(capsys, "verify", "half")
    assert alone["result"]["converted_to"] == "BF16"
    assert "signed by nobody" in alone["result"]["unchecked"][-1]
    _, beside = told(capsys, "verify", "half", *mirror)
    assert beside["result"]["conversion"] == 2
    assert len(beside["result"]["unchecked"]) == len(alone["result"]["unchecked"]) - 1
    assert run(["pull", "tiny-lm", "--into", "half", "--dtype", "f64", *mirror]) == 2


def test_the_card_as_a_page(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "0.1.1", "--card", "--from", str(releases.public)]) == 0
    assert capsys.readouterr().out == "# tiny-lm 0.1.1\n"


def test_verify_fits_a_terminal(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = ("--from", str(releases.public))
    assert run(["pull", "tiny-lm", "--into", "model", *mirror]) == 0
    capsys.readouterr()
    assert run(["verify", "model", *mirror]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80


def test_the_same_in_words(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = ("--from", str(releases.public))
    assert run(["ls", *mirror]) == 0
    assert run(["show", *mirror]) == 0
    assert run(["pull", "tiny-lm@^0.1", "--into", "model", "--dry-run", *mirror]) == 0
    assert run(["pull", "tiny-lm@^0.1", "--into", "model", *mirror]) == 0
    assert run(["pull", "tiny-lm@^0.1", "--into", "model", "--dry-run", *mirror]) == 0
    assert run(["pull", "tiny-lm@^0.1", "--into", "model", *mirror]) == 0
    assert run(["verify", "model", *mirror]) == 0
    assert run(["identity", "show"]) == 0
    out = capsys.readouterr().out
    for words in (
        "tiny-lm: 3 releases",
        "loss-text  3.0000  3.1000  -0.1000  -0.2000 to 0.0100",
        "apply the patch to 0.1.2",
        "bytes to fetch, with card, reports and manifest",
        "nothing was changed",
        "tiny-lm 0.1.2 is in",
        "already, verified; nothing to do",
        "already, verified",
        "equals 0.1.1 plus its patch, bit for bit",
    ):
        assert words in out
    assert "made just now" in " ".join(out.split())  # where the line breaks depends on how long the path is


@pytest.mark.parametrize(
    ("argv", "exit_code", "code"),
    [
        (["frobnicate"], 2, "usage"),
        (["--frob"], 2, "usage"),
        (["pull", "tiny-lm"], 2, "usage"),
        (["pull", "--into"], 2, "usage"),
        (["ls"], 2, "usage"),
        (["ls", "--from", "gopher://x"], 2, "usage"),
        (["ls", "--from", "."], 7, "not-a-run-folder"),
        (["show", "9.9.9", "--from", "RUN"], 6, "no-such-version"),
        (["show", "1.x.3", "--from", "RUN"], 6, "bad-version"),
        (["pull", "tiny-lm@^7", "--into", "model", "--from", "RUN"], 6, "no-such-version"),
        (["pull", "tiny-lm", "--into", "model", "--trust", "b3:" + "0" * 64, "--from", "RUN"], 6, "verification"),
        (["pull", "tiny-lm", "--into", "model", "--trust", "no-such-file", "--from", "RUN"], 2, "usage"),
        (["verify", "."], 6, "verification"),
        (["identity", "show", "--key", "/dev/null/key"], 7, "storage"),
        (["serve", "no-such.toml"], 3, "config-missing"),
    ],
)
def test_errors_in_both_forms(
    releases: PublishedRun, capsys: pytest.CaptureFixture[str], argv: list[str], exit_code: int, code: str
) -> None:
    argv = [str(releases.public) if word == "RUN" else word for word in argv]
    found, envelope = told(capsys, *argv)
    assert (found, envelope["error"]["code"]) == (exit_code, code)
    assert envelope["command"] == (argv[0] if argv[0] in COMMANDS else "")
    assert run(argv) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("barnraise: ")
    assert err.count("\n") == 1


def test_where_releases_come_from(
    releases: PublishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARNRAISE_FROM", str(releases.public))
    assert told(capsys, "ls")[0] == 0
    monkeypatch.delenv("BARNRAISE_FROM")
    releases.as_run_folder()
    Path("demo-run").symlink_to(releases.root)
    assert told(capsys, "ls")[1]["result"]["from"] == "demo-run"


def test_warnings_go_to_standard_error(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    releases.release("0.1.3", yanked="a \x1b[31mred\x1b[0m reason")
    assert run(["show", "0.1.3", "--from", str(releases.public)]) == 0
    assert capsys.readouterr().err == "barnraise: warning: 0.1.3 was yanked: a \\x1b[31mred\\x1b[0m reason\n"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"]):
        assert run(argv) == 0
        out = capsys.readouterr().out
        assert all(f"\n  {name} " in out for name in COMMANDS)
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("barnraise 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert f"Example: barnraise {command}" in capsys.readouterr().out


def loaded_after(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after some code."""
    script = f"import sys\n{code}\nprint(' '.join(sys.modules), file=sys.__stderr__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()}


def test_help_imports_hardly_anything() -> None:
    loaded = loaded_after("from barnraise.cli import run\nrun(['--help'])")
    assert not loaded & {"torch", "ray", "numpy", "pydantic", "rich", "urllib3", "cryptography"}


def test_help_of_what_verifies_imports_no_tuf() -> None:
    assert "tuf" not in loaded_after("from barnraise.cli import run\nrun(['verify', '--help'])")


def test_pulling_imports_neither_torch_nor_ray(releases: PublishedRun) -> None:
    argv = ["pull", "tiny-lm", "--into", "model", "--from", str(releases.public)]
    loaded = loaded_after(f"from barnraise.cli import run\nassert run({argv!r}) == 0\nrun(['verify', 'model'])")
    assert not loaded & {"torch", "ray", "coordinator", "contributor", "merge", "fastapi", "sqlalchemy"}


def test_being_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("barnraise.cli.ls.find_source", interrupted)
    assert run(["ls"]) == 130
    assert capsys.readouterr() == ("", "barnraise: stopped\n")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "your disk quota is used up"),
        (errno.EFBIG, "a file would be larger than it may be"),
    ],
)
def test_a_disk_that_takes_no_more(
    number: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), "/models/a")

    monkeypatch.setattr("barnraise.cli.ls.find_source", full)
    assert run(["ls"]) == DiskFullError.exit_code
    told = " ".join(capsys.readouterr().err.split())
    assert f"{says}: /models/a could not be written" in told
    assert ("no space left" in told) is (number == errno.ENOSPC)


def test_a_reader_that_left(tmp_path: Path) -> None:
    script = "import sys; from barnraise.cli import run; sys.exit(run(['--help']))"
    with (tmp_path / "err").open("w") as err:
        writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=err)
        assert writer.stdout is not None
        writer.stdout.close()
        assert writer.wait(timeout=60) == 1
    assert (tmp_path / "err").read_text() == ""


def test_printable_keeps_words_and_line_breaks() -> None:
    assert printable("a\nb\tc\x1b]0;x\x07\u202e \u00e9") == "a\nb\\tc\\x1b]0;x\\x07\\u202e \u00e9"


def test_table_aligns() -> None:
    assert table(("NAME", " SIZE"), [("a", "1"), ("long", "1,000")]) == ["NAME   SIZE", "a         1", "long  1,000"]
