"""The last lines of make-tables: SPC by level beside the paper's, and the verdicts."""

from pathlib import Path

import pytest
from results_builder import demo_results

from analysis.config import TablesConfig
from analysis.make import make_tables


def cells(line: str) -> list[str]:
    return [text.strip() for text in line.strip("|").split("|")]


def test_the_last_twenty_lines_tell_the_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo_results(tmp_path / "results")
    make_tables(TablesConfig(tmp_path / "results", tmp_path / "out", format=("csv",)))
    last = capsys.readouterr().out.splitlines()[-20:]
    table = {cells(line)[0]: cells(line)[1:] for line in last if line.startswith("|")}
    assert table["SPC of H"] == ["f1", "f2", "f3", "f4", "f5", "all"]
    assert table["vgg16-random-zeros"] == [".150", ".300", ".450", ".600", ".750", ".780"]
    # Tables 3 and 4 of the paper; without padding only the readout of all levels is published.
    assert table["published: VGG16"] == [".101", ".344", ".472", ".610", ".657", ".742"]
    assert table["published: VGG16 w/o padding"] == ["", "", "", "", "", ".381"]
    text = " ".join(last)
    assert "holds: position is there" in text
    assert "padding removed" in text
