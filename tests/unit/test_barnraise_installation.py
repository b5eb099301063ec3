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
