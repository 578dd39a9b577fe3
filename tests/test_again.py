"""Run it again: the calls that caches, runs and tables keep give the same scores elsewhere."""

import shlex
import subprocess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from extraction import make_photos
from torchvision.models import squeezenet1_1

from analysis.cli import main as make_tables
from analysis.config import TablesConfig
from data.tools.settings import command_line
from extract.cli import main as extract_features
from extract.config import ExtractConfig
from extract.run import extract_features as extract
from probe.cli import main as train_probes
from probe.config import ProbeConfig
from probe.results import read_settings

COMMANDS = {
    "extract-features": extract_features,
    "train-probes": train_probes,
    "make-tables": make_tables,
}
TAPS = "features.3.squeeze,features.6.squeeze"


def give(lines: list[str]) -> None:
    """Run command lines as a shell would, in this process."""
    for line in lines:
        program, *words = shlex.split(line)
        result = CliRunner().invoke(COMMANDS[program], words)
        assert result.exit_code == 0, (line, result.output)


def test_the_printed_lines_give_the_same_scores_in_an_empty_folder(tmp_path: Path, monkeypatch):
    first, second = tmp_path / "first here", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    make_photos(first / "photos", train=12, test=3)
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), first / "own weights.pt")
    extract_line = shlex.join(
        [
            *("extract-features", "--backbone", "squeezenet1_1", "--weights", "own weights.pt"),
            *("--train", "photos/train", "--test", "photos/test", "--limit", "9", "--seed", "5"),
            *("--taps", TAPS, "--image-size", "32", "--precision", "fp32", "--padding", "reflect"),
            *("--overwrite", "--num-workers", "1"),
        ]
    )
    given = [
        extract_line,
        "train-probes --levels f2 --pattern H --epochs 2 --batch-size 4 --seeds 2",
        "train-probes --levels f1 --pattern V --epochs 2 --batch-size 4",
        "make-tables --table study --format md",
    ]
    monkeypatch.chdir(first)
    give(given)
    printed = Path("tables/run_again.sh").read_text().splitlines()
    assert printed[0] == "set -e"
    monkeypatch.chdir(second)
    give(printed[1:])
    scores = [folder / "results" / "scores.csv" for folder in (first, second)]
    assert scores[0].read_text() == scores[1].read_text()
    table = [folder / "tables" / "table_study.csv" for folder in (first, second)]
    assert [path.exists() for path in table] == [False, False]  # only md was asked for
    # Again in the same folder: nothing to do, so nothing is added to what is printed.
    monkeypatch.chdir(first)
    give(["train-probes --levels f1 --pattern V --epochs 2 --batch-size 4"])
    (run,) = [path.parent for path in Path("results").glob("*/run.json")]
    assert len(read_settings(run).commands) == 2  # type: ignore[union-attr]


def test_python_callers_leave_their_command_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ExtractConfig("vgg16", train="a b", seed=3, overwrite=True).command == shlex.join(
        [
            *("extract-features", "--backbone", "vgg16", "--train", str(tmp_path / "a b")),
            *("--seed", "3"),
        ]
    )
    command = ProbeConfig(sweep=True, levels=("f1", "f2"), overwrite=True).command
    assert command == "train-probes --sweep --levels f1 --levels f2"
    assert command_line("make-tables", TablesConfig()) == "make-tables"


@pytest.mark.parametrize("text", ["it's", "a;b", "$(touch x)", "--x", "a\nb"])
def test_a_shell_reads_the_words_back(text: str) -> None:
    line = ExtractConfig("vgg16", weights_name=text).command
    shown = subprocess.run(
        ["sh", "-c", line.replace("extract-features", "printf '%s\\0'", 1)],
        capture_output=True,
        check=True,
    )
    named = [f"--weights-name={text}"] if text.startswith("--") else ["--weights-name", text]
    assert shown.stdout.decode().split("\0")[:-1] == ["--backbone", "vgg16", *named]


def test_objects_in_memory_have_no_command(tmp_path: Path) -> None:
    from data.cache.reader import FeatureCache

    photos = make_photos(tmp_path / "photos", train=2, test=1)
    config = ExtractConfig(
        "squeezenet1_1", weights="random", taps=TAPS, image_size=32, cache_dir=tmp_path / "f"
    )
    images = {"train": photos / "train", "test": photos / "test"}
    assert FeatureCache(extract(config, images=images)).identity.command == ""
