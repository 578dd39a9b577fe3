"""Targets of one's own: a pattern added from outside, trained, scored, and shown in a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from caches import make_cache
from click.testing import CliRunner
from scipy import ndimage

from analysis.cli import main as make_tables
from data import targets
from data.target_maps import keep_target, load_targets, map_pattern, read_target
from data.targets import PATTERNS, Pattern, add_pattern, pattern_names, position_map
from data.tools.errors import UserError
from probe.cli import main
from probe.config import ProbeConfig
from probe.plan import plan_runs

CORNER = np.outer(np.linspace(1, 0, 56), np.linspace(1, 0, 56)).astype(np.float32)


@pytest.fixture(autouse=True)
def known_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_patterns", dict(targets._patterns))


def ring(size: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.hypot(y, x)


def test_a_pattern_of_ones_own_is_found_by_its_name() -> None:
    add_pattern(Pattern("ring", ring, 7))
    assert pattern_names() == (*PATTERNS, "ring")
    np.testing.assert_array_equal(position_map("ring"), ring(224))
    assert ProbeConfig(pattern=("ring",)).pattern == ("ring",)
    with pytest.raises(UserError, match="'ring' is another map already"):
        add_pattern(Pattern("ring", np.eye, 7))


def test_the_map_of_a_target_is_resampled_as_scipy_does() -> None:
    expected = ndimage.zoom(CORNER.astype(float), 4, order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(map_pattern("corner", CORNER).draw(224), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("H", CORNER, "none of the paper's"),
        ("a/b", CORNER, "cannot name a target"),
        ("flat", np.ones((8, 8)), "the same everywhere"),
        ("wide", np.ones((8, 9)), "give a square map"),
        ("holes", np.full((8, 8), np.nan), "finite numbers"),
        ("words", np.array([["a", "b"], ["c", "d"]]), "finite numbers"),
    ],
)
def test_what_cannot_be_a_target(name: str, values: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        map_pattern(name, values)


def test_targets_stay_with_their_results(tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", CORNER)
    keep_target(tmp_path, *read_target(f"corner={tmp_path / 'map.npy'}"))
    keep_target(tmp_path, "corner", CORNER)
    with pytest.raises(UserError, match="is another map than the target 'corner'"):
        keep_target(tmp_path, "corner", CORNER[::-1])
    (tmp_path / "targets" / "cut.npy").write_bytes((tmp_path / "map.npy").read_bytes()[:90])
    with pytest.raises(UserError, match=r"cut\.npy is damaged"):
        load_targets(tmp_path)


def test_a_sweep_has_the_heads_of_a_target_too(tmp_path: Path) -> None:
    make_cache(tmp_path / "features", train=8)
    np.save(tmp_path / "map.npy", CORNER)
    options: dict[str, Any] = {"cache_dir": tmp_path / "features", "sweep": True}
    (usual, *_) = plan_runs(ProbeConfig(**options))
    (own, *_) = plan_runs(ProbeConfig(**options, target=(f"corner={tmp_path / 'map.npy'}",)))
    assert {head.pattern for head in own.heads} == {"corner"}
    assert {head.name.partition("-")[2] for head in own.heads} == {
        head.name.partition("-")[2] for head in usual.heads
    }


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_target_is_trained_scored_and_in_a_table(tmp_path: Path, jobs: str) -> None:
    make_cache(tmp_path / "features", train=8)
    make_cache(tmp_path / "features", train=8, backbone="vgg11")
    np.save(tmp_path / "map.npy", CORNER)
    options = [f"--cache-dir={tmp_path / 'features'}", f"--results-dir={tmp_path / 'results'}"]
    options += [f"--target=corner={tmp_path / 'map.npy'}", "--pattern=H", "--solver=exact"]
    outcome = CliRunner().invoke(main, [*options, "--levels=f1", "--kernel-size=1", "--jobs", jobs])
    assert outcome.exit_code == 0, outcome.stderr
    scores = pd.read_csv(tmp_path / "results" / "scores.csv")
    assert set(scores["pattern"]) == {"H", "corner"}
    constant = np.abs(position_map("corner") - np.median(position_map("corner"))).mean()
    assert scores[scores["pattern"] == "corner"]["mae"].between(0, constant).all()
    options = [f"--results-dir={tmp_path / 'results'}", f"--out={tmp_path / 'tables'}"]
    outcome = CliRunner().invoke(make_tables, [*options, "--table", "study", "--format", "md"])
    assert outcome.exit_code == 0, outcome.stderr
    (table,) = (tmp_path / "tables").glob("*study*.md")
    assert "corner" in table.read_text()
