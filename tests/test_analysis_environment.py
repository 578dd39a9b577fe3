"""The user's environment neither breaks nor changes what is drawn and written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from results_builder import PIXELS, ResultsBuilder

from analysis.config import TablesConfig
from analysis.figures.maps import targets
from analysis.figures.style import save
from analysis.make import make_tables
from analysis.read.results import read_results
from data.tools.errors import UserError
from probe.heads.spec import HeadSpec

ROOT = Path(__file__).parents[1]
DRAW = """
import sys
from pathlib import Path
from analysis.figures.maps import targets
from analysis.figures.style import save
for kind in ("png", "pdf", "svg"):
    save(targets(), Path(sys.argv[1]) / f"targets.{kind}", kind)
"""
RC = """
text.usetex: True
font.family: serif
font.size: 30
figure.constrained_layout.use: True
savefig.bbox: tight
savefig.transparent: True
savefig.dpi: 30
axes.facecolor: red
image.cmap: hot
pdf.compression: 0
svg.fonttype: none
"""
HEADS = [HeadSpec(("f5",), 3, 1, 0, pattern) for pattern in ("H", "G")]


def draw(folder: Path, **environment: str) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.glob("targets.*")}


def test_a_backend_or_matplotlibrc_of_the_user_changes_no_figure(tmp_path: Path):
    usual = draw(tmp_path / "usual", MPLBACKEND="agg")
    assert len(usual) == 3
    missing = "module://no_such_package.backend_inline"  # as Jupyter's, where it is not installed
    assert draw(tmp_path / "jupyter", MPLBACKEND=missing) == usual
    own = tmp_path / "own"
    own.mkdir()
    (own / "matplotlibrc").write_text(RC)
    assert draw(own) == usual


def test_a_figure_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch):
    path = tmp_path / "targets.pdf"
    save(targets(), path, "pdf")
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(targets(), path, "pdf")
    assert path.read_bytes() == before


def test_a_full_disk_is_named_with_the_file_and_the_remedy(tmp_path: Path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"targets\.pdf.*no space left.*choose another"):
        save(targets(), tmp_path / "targets.pdf", "pdf")
    assert not list(tmp_path.iterdir())


def test_a_backup_of_a_run_is_left_out_by_name(tmp_path: Path, capsys):
    builder = ResultsBuilder(tmp_path / "results").add(heads=HEADS).add("own", heads=HEADS)
    plain = read_results(builder.folder).scores
    run = builder.folder / "vgg16-random-zeros"
    shutil.copytree(run, builder.folder / "vgg16-random-zeros.bak")
    # An older state of the run: other numbers under the same names.
    text = (run / "scores.csv").read_text()
    (builder.folder / "vgg16-random-zeros.bak" / "scores.csv").write_text(
        text.replace("converged", "falling")
    )
    joined = [path.read_text().splitlines() for path in sorted(builder.folder.glob("*/scores.csv"))]
    lines = [joined[0][0], *(line for part in joined for line in part[1:])]
    (builder.folder / "scores.csv").write_text("\n".join(lines) + "\n")
    results = read_results(builder.folder)
    assert sorted(results.scores["head"]) == sorted(plain["head"])
    assert set(results.scores["status"]) == {"converged"}
    make_tables(TablesConfig(builder.folder, tmp_path / "tables", format=("csv",)))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "vgg16-random-zeros.bak is left out: it is a copy of" in said


def test_pixels_read_from_caches_of_several_names_are_one_row(tmp_path: Path, capsys):
    more = HeadSpec(("input",), 5, 1, 2, "H")
    builder = ResultsBuilder(tmp_path / "results").add().add(PIXELS)
    one = make_tables(TablesConfig(builder.folder, tmp_path / "one", format=("csv",)))
    builder.add(PIXELS, run="pixels-copy", heads=[HeadSpec(("input",), 3, 1, 0, "H"), more])
    two = make_tables(TablesConfig(builder.folder, tmp_path / "two", format=("csv",)))
    for name in ("1", "2a", "2b", "4"):
        table = f"table_{name}.csv"
        assert (one / table).read_text() == (two / table).read_text()
    assert ",pixels-copy,5,1,2," not in (two / "table_study.csv").read_text()
    assert "pixels-copy" in (two / "table_study.csv").read_text(), "what only it has is shown"
    builder.add(PIXELS, run="pixels-again")
    capsys.readouterr()
    make_tables(TablesConfig(builder.folder, tmp_path / "three", format=("csv",)))
    assert "pixels-again is left out: another run read the same pixels" in capsys.readouterr().err


def test_no_remedy_throws_all_results_away(tmp_path: Path):
    builder = ResultsBuilder(tmp_path).add(heads=HEADS).add("own", heads=HEADS)
    place = builder.folder / "own-random-zeros"
    (place / "losses.csv").write_text("no table")
    with pytest.raises(UserError, match=r"remove \S+own-random-zeros and run train-probes again"):
        read_results(builder.folder)
    (tmp_path / "scores.csv").write_text('a,"b')
    with pytest.raises(UserError, match="or remove it and run train-probes again, which makes it"):
        read_results(builder.folder)
