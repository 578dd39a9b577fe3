"""The example of docs/analysis.md runs as it stands."""

import re
from pathlib import Path

import pytest
from results_builder import demo_results

DOCUMENT = Path(__file__).parents[1] / "docs" / "analysis.md"


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    demo_results(tmp_path / "results", maps=True)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert "published_spc" in printed
    assert "holds" in printed
    assert (tmp_path / "levels.png").stat().st_size > 5000
    assert (tmp_path / "errors.png").stat().st_size > 5000
    padded, unpadded = 0.78, 0.1  # the builder's rule
    assert (names["wide"]["zeros"] - names["wide"]["none"]).mean() == pytest.approx(
        padded - unpadded, abs=1e-4
    )
    assert set(names["mine"]["reads"]) == {"all"}


def test_the_documented_commands_are_real_options():
    from analysis.cli import main

    text = DOCUMENT.read_text()
    known = {option for parameter in main.params for option in parameter.opts}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text.split("## In a notebook")[0]))
    assert used - known == set()
