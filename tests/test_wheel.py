"""A wheel holds everything the three commands need, away from the repository."""

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "extract", "probe", "analysis")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    pytest.importorskip("setuptools")
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("position_probes.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(work), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = work.glob("position_probes-*.whl")
    site = work / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    return site


def run(site: Path, folder: Path, command: str, *options: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    script = site / "bin" / command
    done = subprocess.run(
        [sys.executable, str(script), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_three_commands_run_from_the_wheel(site: Path, tmp_path: Path):
    run(site, tmp_path, "extract-features", "--backbone", "vgg11", "--weights", "random",
        "--limit", "4", "--batch-size", "4")  # fmt: skip
    run(site, tmp_path, "train-probes", "--sweep", "--pattern", "H", "--epochs", "1")
    run(site, tmp_path, "make-tables")
    assert (tmp_path / "results" / "scores.csv").exists()
    assert list((tmp_path / "tables").glob("*.md"))


def test_every_console_script_is_there(site: Path):
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    names = {line.split("=")[0].strip() for line in lines if line.strip()}
    assert {"extract-features", "train-probes", "make-tables"} <= names
    assert names <= {path.name for path in (site / "bin").iterdir()}
