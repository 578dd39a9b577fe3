"""Paths on the command line."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from data.tools.command import setting, stage_command


@dataclass(frozen=True)
class Config:
    out: Path = setting("Somewhere.", Path("here"))
    more: tuple[Path, ...] = setting("Elsewhere.", ())


def test_home_is_expanded_in_every_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    seen: list[Config] = []
    command = stage_command(Config, seen.append, help="", resume="")
    result = CliRunner().invoke(command, ["--out=~/a.pt", "--more=~/b", "--more", "c~"])
    assert result.exit_code == 0, result.output
    assert seen == [Config(tmp_path / "a.pt", (tmp_path / "b", Path("c~")))]
