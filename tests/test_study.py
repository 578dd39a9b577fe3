"""Study files: written by a run, read by the next, and checked as the command line is."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from extraction import make_photos
from hypothesis import given
from hypothesis import strategies as st

from analysis.cli import main as make_tables
from data.tools.command.study import COMMANDS, read_study, study_text, tomllib
from extract.cli import main as extract_features
from extract.tasks.cli import main as train_backbone
from probe.cli import main as train_probes

SMALL = ["--weights", "random", "--precision", "fp32", "--image-size", "32", "--num-workers", "1"]
SMALL += ["--taps", "features.3.squeeze,features.6.squeeze", "--limit", "9", "--seed", "5"]


def give(command, *words: str) -> str:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def here_and_there(tmp_path: Path) -> tuple[Path, Path]:
    """A folder to run in, and another to run it again in."""
    folders = tmp_path / "first here", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    return folders


def test_a_run_written_and_read_gives_the_same_scores_elsewhere(here_and_there, monkeypatch):
    first, second = here_and_there
    make_photos(first / "photos", train=12, test=3)
    monkeypatch.chdir(first)
    several = ["--backbone", "squeezenet1_1", "--padding", "zeros", "--padding", "reflect"]
    give(extract_features, *several, *SMALL, "--train", "photos/train", "--test", "photos/test")
    give(train_probes, "--levels", "f2", "--pattern", "H", "--epochs", "2", "--batch-size", "4")
    give(train_probes, "--levels", "f1", "--levels", "f2", "--pattern", "V", "--solver", "exact")
    give(make_tables, "--format", "md", "--table", "study")
    study = first / "tables" / "study.toml"
    monkeypatch.chdir(second)
    for command in (extract_features, train_probes, make_tables):
        give(command, "--study", str(study))
    scores, table = Path("results/scores.csv"), Path("tables/table_study.md")
    assert scores.read_bytes() == (first / scores).read_bytes()
    assert table.read_bytes() == (first / table).read_bytes()
    assert Path("tables/study.toml").read_bytes() == study.read_bytes()


def test_placed_studies_and_small_networks_are_in_it(here_and_there, monkeypatch):
    first, second = here_and_there
    make_photos(first / "photos", train=12, test=1)
    monkeypatch.chdir(first)
    network = ["--backbone", "squeezenet1_1", "--weights", "random", "--precision", "fp32"]
    network += ["--taps", "features.3.squeeze,features.6.squeeze", "--cache-dir", "my caches"]
    placed = ["--grid", "2", "--patch-size", "32", "--patches", "photos/train", "--placed", "grid"]
    give(extract_features, *network, *placed)
    give(extract_features, *network, "--placed", "shifts", "--patch-size", "32", "--most", "2",
         "--patch-limit", "10", "--shift", "roll")  # fmt: skip
    give(train_backbone, "--task", "rook", "--seeds", "2", "--results-dir", "found")
    places = ["--cache-dir", "my caches", "--results-dir", "found"]
    give(train_probes, "--placed", *places, "--solver", "exact", "--levels", "f2")
    give(train_probes, "--consistency", *places)
    give(make_tables, "--results-dir", "found", "--format", "md")
    study = first / "tables" / "study.toml"
    monkeypatch.chdir(second)
    for command in (train_backbone, extract_features, train_probes, make_tables):
        give(command, "--study", str(study))
    for name in ("placed.csv", "consistency.csv", "rook.csv"):
        assert Path("found", name).read_bytes() == (first / "found" / name).read_bytes(), name
    assert Path("tables/study.toml").read_bytes() == study.read_bytes()


def test_the_command_line_wins_and_required_options_may_stand_in_the_file(tmp_path: Path):
    study = tmp_path / "study.toml"
    study.write_text(
        '[extract-features]\nbackbone = "squeezenet1_1"\nweights = "random"\nlimit = 3\n'
        f'padding = ["zeros", "circular"]\ncache-dir = "{tmp_path / "none"}"\nimage-size = 64\n'
        "[train-probes]\nplaced = true\n"
    )
    planned = give(extract_features, "--study", str(study), "--dry-run")
    assert planned.count("images: train 3, test 3,") == 2
    planned = give(
        extract_features, f"--study={study}", "--dry-run", "--limit", "2", "--padding=zeros"
    )
    assert planned.count("images: train 2, test 2,") == 1
    done = CliRunner().invoke(train_probes, ["--study", str(study), "--sweep"])
    assert (done.exit_code, "--sweep is no option of --placed" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[extract-feature]", "no command is called 'extract-feature': use .*extract-features"),
        ("[train-probes]\nkernel_size = 1", "no option is called 'kernel_size': use .*kernel-size"),
        ("[train-probes]\nsweep = 1", "sweep = 1: give true or false"),
        ("[train-probes]\nepochs = [1, 2]", r"epochs = \[1, 2\]: give one value, not a list"),
        ("[train-probes]\nepochs = true", "epochs = True: give a text or a number"),
        ("[train-probes]\nlevels = [[1]]", "give a text or a number"),
        ("train-probes = 3", "is no section"),
        ("[train-probes", "cannot be read as TOML"),
        ("[train-probes]\ndebug = true", "no option is called 'debug'"),
        ("[train-probes]\nepochs = -1", "--epochs -1 must be at least 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    done = CliRunner().invoke(train_probes, ["--study", str(tmp_path / "study.toml")])
    assert done.exit_code == 1
    assert re.search(message, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.count(",") <= 6  # at most five are suggested


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_tables, ["--study", str(tmp_path / "none.toml")])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)


@given(st.lists(st.text(min_size=1).filter(lambda text: "\0" not in text), min_size=1, max_size=3))
def test_whatever_a_value_is_the_file_says_it(values: list[str]) -> None:
    words = [f"--weights-name={v}" if v.startswith("--") else v for v in values]
    pairs = [w if w.startswith("--") else f"--weights-name={w}" for w in words]
    text = study_text([shlex.join(["extract-features", "--strict", *pairs, "--overwrite"])])
    section = tomllib.loads(text.encode("utf-8", "surrogatepass").decode())["extract-features"]
    found = section["weights-name"]
    assert [str(v) for v in (found if isinstance(found, list) else [found])] == values
    assert (section["strict"], section["overwrite"]) == (True, True)


def test_every_command_has_its_section(tmp_path: Path) -> None:
    commands = [extract_features, train_backbone, train_probes, make_tables]
    assert tuple(command.name for command in commands) == COMMANDS
    study = tmp_path / "study.toml"
    study.write_text("[make-tables]\nclaims = true\n")
    options = [option for option in make_tables.params if option.name == "claims"]
    assert read_study(study, "make-tables", options) == [{"claims": True}]  # type: ignore[arg-type]
