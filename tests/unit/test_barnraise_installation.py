"""Overwritten packages and missing extras are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise import installation
from barnraise.errors import MissingExtraError, NameClashError
from barnraise.installation import check_claims, check_origin, require


def test_this_environment_is_fit() -> None:
    require("contributor")
    require("coordinator")
    require("merge")


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installation.MODULES_OF_EXTRA, "contributor", ("no_such_module",))
    with pytest.raises(MissingExtraError, match=r"no_such_module.*pip install 'barnraise\[contributor\]'"):
        require("contributor")


def test_a_package_from_elsewhere(tmp_path: Path) -> None:
    check_origin("coordinator", str(tmp_path / "coordinator" / "__init__.py"), tmp_path)
    for origin in (None, str(tmp_path / "elsewhere" / "coordinator" / "__init__.py")):
        with pytest.raises(NameClashError, match="coordinator"):
            check_origin("coordinator", origin, tmp_path)


def test_another_distribution_claims_our_name() -> None:
    check_claims({"coordinator": ["barnraise"], "numpy": ["numpy"]})
    with pytest.raises(NameClashError, match="pip uninstall coordinator"):
        check_claims({"coordinator": ["barnraise", "coordinator"]})


def test_who_has_files_in_our_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, record in (("merge", "merge/__init__.py,,\n"), ("emerge", "emerge/merge/x.py,,\nmerge.py,,\n")):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "RECORD").write_text(record)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NameClashError, match="pip uninstall merge "):
        require("merge")
    (tmp_path / "merge-1.dist-info" / "RECORD").write_text("merged/__init__.py,,\n")
    require("merge")
