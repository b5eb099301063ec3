"""The documents say what the code does: errors, commands, keys, sources, links."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from barnraise import errors
from barnraise.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ERRORS = sorted(
    (kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.BarnraiseError)),
    key=lambda kind: kind.__name__,
)
FAMILIES = sorted(
    (kind for kind in ERRORS if kind.__base__ is errors.BarnraiseError), key=lambda family: family.exit_code
)
WITHOUT_SOURCE = {  # interfaces, and what follows from no publication
    "merge/strategies/__init__.py",
    "merge/strategies/options.py",
    "merge/strategies/registry.py",
    "merge/strategies/rule.py",
    "merge/compress/__init__.py",
    "merge/compress/blockwise.py",
    "merge/compress/dense.py",
    "merge/compress/rows.py",
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="ascii")


def sections(page: str) -> dict[str, str]:
    """Heading of the second level -> what stands below it."""
    _, *parts = re.split(r"^## ", text_of(page), flags=re.MULTILINE)
    return {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in parts}


def generator() -> ModuleType:
    path = ROOT / "docs" / "generate_configuration.py"
    spec = importlib.util.spec_from_file_location("generate_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


# -- errors --------------------------------------------------------------------------------


def drawn() -> dict[str, tuple[str, int | None, int | None]]:
    """Class -> its parent, exit code and status, as the tree in barnraise/errors.py draws them."""
    found: dict[str, tuple[str, int | None, int | None]] = {}
    above: list[str] = []  # the class at every depth on the way to this line
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([| ]*)[|`]-- (\w+)((?: +\d+)*)", line.removeprefix("    "))
        if match:
            numbers = [int(number) for number in match[3].split()]
            depth = len(match[1]) // 4
            above = [*above[:depth], match[2]]
            parent = above[depth - 1] if depth else "BarnraiseError"
            exit_code, status = (None, numbers[0] if numbers else None) if depth else (numbers[0], numbers[1])
            found[match[2]] = (parent, exit_code, status)
    return found


def test_the_drawn_tree_is_the_tree() -> None:
    tree = drawn()
    assert set(tree) == {kind.__name__ for kind in ERRORS} - {"BarnraiseError"}
    for kind in ERRORS:
        if kind is not errors.BarnraiseError:
            parent, exit_code, status = tree[kind.__name__]
            assert kind.__base__ is not None
            assert parent == kind.__base__.__name__
            assert kind.exit_code == (kind.__base__.exit_code if exit_code is None else exit_code), kind
            assert kind.http_status == (kind.__base__.http_status if status is None else status), kind


def test_exit_codes_belong_to_one_family_each() -> None:
    assert len({family.exit_code for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_family_has_its_section(family: type[errors.BarnraiseError]) -> None:
    section = sections("docs/errors.md")[family.__name__]
    assert section.lstrip().startswith(f"Exit code {family.exit_code}, HTTP {family.http_status}.")
    for kind in family.__subclasses__():
        status = "" if kind.http_status == family.http_status else f" (HTTP {kind.http_status})"
        assert f"- `{kind.__name__}`{status}: " in section


def test_every_section_is_a_family() -> None:
    assert set(sections("docs/errors.md")) == {family.__name__ for family in FAMILIES}


# -- commands and keys ---------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"| `barnraise {command}` |" in text_of("README.md")


def test_every_configuration_key_has_its_line() -> None:
    page = text_of("docs/configuration.md")
    assert generator().render() == page, "run: .venv/bin/python docs/generate_configuration.py"
    for key in generator().every_key():
        assert f"- `{key.name}` (" in page


# -- sources and files ---------------------------------------------------------------------


def algorithms() -> list[str]:
    folders = ("merge/strategies", "merge/compress")
    files = [str(path.relative_to(ROOT)) for folder in folders for path in sorted((ROOT / folder).glob("*.py"))]
    coding = [f"barnraise/updates/{name}.py" for name in ("rans", "support")]
    return [*(file for file in files if file not in WITHOUT_SOURCE), *coding]


@pytest.mark.parametrize("file", algorithms())
def test_every_algorithm_names_its_source(file: str) -> None:
    assert "Source: " in (ast.get_docstring(ast.parse((ROOT / file).read_text())) or "")


def test_the_file_map_is_complete() -> None:
    readme = text_of("README.md")
    for package in ("barnraise", "merge", "coordinator", "contributor"):
        for path in (ROOT / package).iterdir():
            listed = f"{path.name}/" if (path / "__init__.py").exists() else path.name
            if (path.suffix == ".py" and path.name != "__init__.py") or listed.endswith("/"):
                assert re.search(rf"^      {re.escape(listed)} ", readme, re.MULTILINE), f"{package}/{listed}"


# -- pages ---------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="ascii"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="ascii")):
        if not link.startswith("https://"):
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.is_relative_to(ROOT), link
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths in a page's text, such as ``barnraise/updates/space.py``."""
    known = "barnraise|merge|coordinator|contributor|configs|benchmarks|tests|docs"
    for name in re.findall(rf"(?<![\w/.-])((?:{known})/[\w/.-]+\.(?:py|toml|md))\b", page.read_text(encoding="ascii")):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_plain(page: Path) -> None:
    text = page.read_bytes()
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 120


def test_every_decision_has_its_parts() -> None:
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04d}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        assert list(sections(str(path.relative_to(ROOT)))) == ["Context", "Decision", "Consequences", "Alternatives"]
