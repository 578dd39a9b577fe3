"""Imports run one way, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "data": {"data"},
    "extract": {"extract", "data"},
    "probe": {"probe", "data"},
    "analysis": {"analysis", "data", "probe.results", "probe.metrics"},
}
MODULES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layout"
            assert node.module is not None
            # `from probe import results` imports the module probe.results.
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path):
    package = path.relative_to(ROOT).parts[0]
    for name in imported_modules(path):
        if name.split(".")[0] not in ALLOWED:
            continue
        allowed = any(name == good or name.startswith(good + ".") for good in ALLOWED[package])
        assert allowed, f"{path} imports {name}"
        assert "cli" not in name.split("."), f"{path} imports {name}"


# Folders of a package from the ground up: no file imports from a floor above its own.
FLOORS = {
    "data": ["tools", "machine", "images", "cache"],
    "probe": ["heads", "results", "sgd", "exact"],
    "analysis": ["read", "tables", "figures", "write"],
}


@pytest.mark.parametrize("package", FLOORS)
def test_lower_floors_do_not_import_the_upper(package: str):
    floors = FLOORS[package]
    for path in MODULES:
        parts = path.relative_to(ROOT).parts
        if parts[0] != package or parts[1] not in floors:
            continue
        above = floors[floors.index(parts[1]) + 1 :]
        for name in imported_modules(path):
            first, _, rest = name.partition(".")
            upward = first == package and rest.split(".")[0] in above
            assert not upward, f"{path} imports {name}, which is above it"


def test_no_circles():
    """No file needs, by way of others, itself; what is imported for its types alone aside."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    needs = {
        name: {m for m in imported_modules(path) if m in names} for name, path in names.items()
    }
    needs["data.cache.views"].discard("data.cache.reader")  # for the type it is a view of
    while free := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in free:
            del needs[name]
    assert not needs, f"import each other in a circle: {sorted(needs)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path: Path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("package", ["extract", "probe", "analysis"])
def test_help_answers_without_torch(package: str):
    code = (
        f"import sys; from {package}.cli import main; main(['--help'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "--debug" in done.stdout
