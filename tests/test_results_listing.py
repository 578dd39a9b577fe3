"""Runs are listed with their states; the short table after a training has what was measured."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from data.tools.errors import UserError
from probe.cli import main
from probe.results.listing import runs_listing, spc_table

HEADER = "run,levels,kernel_size,depth,probe_padding,pattern,images,spc,seed\n"
ROWS = [
    "vgg,f1,1,1,0,H,test,0.25,0",
    "vgg,f1,1,1,0,H,test,0.75,1",
    "vgg,f1,1,1,0,H,black,0.1,0",
    "vgg,f1,1,1,0,V,test,,0",
    "alex,f5,1,1,0,H,test,-0.5,0",
]


def write(folder: Path, rows: list[str]) -> Path:
    path = folder / "scores.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return path


def test_the_table_is_run_by_level_by_pattern(tmp_path: Path) -> None:
    assert spc_table(write(tmp_path, ROWS)).splitlines() == [
        "SPC on natural images:",
        "",
        "| run  | levels |      H |         V |",
        "| ---- | ------ | -----: | --------: |",
        "| alex | f5     | -0.500 |           |",
        "| vgg  | f1     |  0.500 | undefined |",
    ]


def test_readouts_of_several_shapes_stand_apart(tmp_path: Path) -> None:
    table = spc_table(write(tmp_path, [*ROWS, "vgg,f1,3,1,0,H,test,0.875,0"])).splitlines()
    assert table[2].startswith("| run  | levels | kernel size | depth | probe padding |")
    assert "| vgg  | f1     | 3           | 1     | 0             |  0.875 |           |" in table
    assert len(table) == 7


def test_without_spc_there_is_no_table(tmp_path: Path) -> None:
    assert spc_table(write(tmp_path, ["vgg,f1,1,1,0,H,test,,0"])) == ""


def test_runs_and_their_states(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in"):
        runs_listing(tmp_path)
    run = tmp_path / "vgg16-random-zeros"
    run.mkdir()
    (run / "run.json").write_text('{"files": {}}')
    assert "0.0 MB  0 heads" in runs_listing(tmp_path)
    (run / "checkpoint.pt").write_bytes(b"")
    listed = CliRunner().invoke(main, ["--list", str(tmp_path)])
    assert listed.stdout == runs_listing(tmp_path) + "\n"
    assert "0 heads, and a pass that is not finished" in listed.stdout
    (run / "scores.csv").write_text("head\nH\n")
    assert "damaged: scores.csv is not as it was written" in runs_listing(tmp_path)
