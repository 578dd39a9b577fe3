"""Tables: joined rightly, never mixed, nothing blank; markdown, CSV and LaTeX."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import COUNTS, PIXELS, ResultsBuilder, demo_results

from analysis.cli import main
from analysis.read.measured import measure, select
from analysis.read.results import read_results
from analysis.tables import cells
from analysis.tables.compare import compare
from analysis.tables.grid import grids
from analysis.tables.study import study
from analysis.write.latex import escape
from analysis.write.markdown import markdown
from data.tools.errors import UserError
from probe.heads.spec import HeadSpec

ALL = ("f1", "f2", "f3", "f4", "f5")


def blocks(folder: Path, name: str, **filters) -> list[str]:
    return [markdown(grid) for grid in grids(compare(name, read_results(folder), **filters))]


def one(table: pd.DataFrame, **values) -> pd.Series:
    chosen = table
    for name, value in values.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_our_value_stands_beside_the_published_one(tmp_path: Path):
    demo_results(tmp_path)
    table = compare("1", read_results(tmp_path))
    cell = one(table, pattern="H", backbone="vgg16", images="test")
    assert cell["spc"] == pytest.approx(0.78, abs=1e-5)  # the builder's rule
    assert cell["published_spc"] == 0.742
    assert cell["spc_difference"] == pytest.approx(0.038, abs=1e-5)
    assert cell["spc_low"] < cell["spc"] < cell["spc_high"]
    assert cell["fill"] == ""


def test_what_random_weights_gave_is_headed_so(tmp_path: Path):
    demo_results(tmp_path)
    for name in ("1", "2a", "2b", "3", "4"):
        (text,) = blocks(tmp_path, name)
        assert "untrained VGG16 (random weights)" in text
        assert "embedded sample images (10533 train, 64 test)" in text
        assert "Published: paper, ImageNet weights" in text


def test_caches_of_other_weights_get_blocks_of_their_own(tmp_path: Path):
    builder = demo_results(tmp_path).add(weights="imagenet").add(weights="imagenet", padding="none")
    results = read_results(builder.folder)
    table = compare("1", results)
    assert table["condition"].nunique() == 2
    for _, block in table.groupby("condition"):
        assert len(block) == 60
        assert block["weights"].dropna().isin(["-", block["weights"].dropna().iloc[-1]]).all()
        pixels = block[block["backbone"] == PIXELS]
        assert pixels["spc"].count() == 15  # the pixels belong to both; black is undefined
    texts = blocks(tmp_path, "1")
    assert "untrained" in texts[0] or "untrained" in texts[1]
    assert sum("with ImageNet weights; embedded" in text for text in texts) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"normalization": "imagenet", "run": "vgg16-random-zeros-normalization-imagenet"},
        {"protocol": "released"},
        {"crop_border": 1, "run": "vgg16-random-zeros-crop-border-1"},
        {"image_size": 112, "run": "vgg16-random-zeros-image-size-112"},
        {"images_digest": "1" * 64, "run": "vgg16-random-zeros-other-images"},
        {"run": "vgg16-random-zeros-again"},
    ],
)
def test_conditions_are_never_mixed(tmp_path: Path, other: dict):
    ResultsBuilder(tmp_path).add(padding="zeros").add(padding="zeros", **other)
    table = compare("1", read_results(tmp_path))
    assert table["condition"].nunique() == 2
    for _, block in table.groupby("condition"):
        assert block["run"].dropna().nunique() == 1


def test_headings_say_how_the_images_were_shown(tmp_path: Path):
    ResultsBuilder(tmp_path).add(crop_border=2, image_size=112)
    (heading,) = compare("1", read_results(tmp_path))["condition"].unique()
    assert "embedded sample images (10533 train, 64 test) at 112x112;" in heading
    assert heading.endswith("every level cropped by 2 at each side")


def test_the_reproduction_stands_in_its_own_table_only(tmp_path: Path):
    demo_results(tmp_path).add(protocol="reproduction")
    results = read_results(tmp_path)
    assert set(compare("R2", results)["protocol"].dropna()) == {"reproduction"}
    assert set(compare("1", results)["protocol"].dropna()) == {"paper"}


def test_a_backbone_with_four_levels_joins_the_published_five(tmp_path: Path):
    builder = ResultsBuilder(tmp_path)
    builder.add("resnet152", protocol="released", levels=("f1", "f2", "f3", "f4"))
    cell = one(
        compare("1", read_results(tmp_path)), pattern="H", backbone="resnet152", images="test"
    )
    assert cell["levels"] == "f1+f2+f3+f4"
    assert (cell["published_spc"], cell["n_images"]) == (0.933, 64)


def test_backbones_and_paddings_the_paper_lacks_join_its_tables(tmp_path: Path):
    heads = [HeadSpec(ALL, 3, 1, 0, pattern) for pattern in ("H", "G", "HS")]
    demo_results(tmp_path).add(padding="reflect").add("my_net", heads=heads)
    (first,) = blocks(tmp_path, "1")
    assert "| my_net " in first
    (fourth,) = blocks(tmp_path, "4")
    assert "| VGG16, reflect padding " in fourth
    assert "| my_net" not in fourth, "measured at one padding only: nothing to compare"


def test_missing_is_shown_with_the_command_that_fills_it(tmp_path: Path):
    demo_results(tmp_path / "demo" / "results")
    results = read_results(tmp_path / "demo" / "results")
    table = compare("1", results)
    missing = table[table["backbone"] == "resnet152"]
    assert len(missing) == 20
    place = f"--cache-dir {tmp_path}/demo/features"
    assert set(missing["fill"]) == {
        f"extract-features --backbone resnet152 --weights random {place} && "
        f"train-probes --sweep {place} --results-dir {tmp_path}/demo/results"
    }
    text = "\n".join(markdown(grid) for grid in grids(table))
    assert "missing" in text
    assert "20 cells missing: `extract-features" in text
    for line in text.splitlines():
        if "| ours" in line:
            assert all(cell.strip() for cell in line.strip("|").split("|")[3:])


def test_a_missing_head_asks_for_training_alone(tmp_path: Path):
    heads = [HeadSpec(ALL, 3, 1, 0, "H")]
    ResultsBuilder(tmp_path / "results").add(heads=heads)
    cell = one(
        compare("1", read_results(tmp_path / "results")),
        pattern="V",
        backbone="vgg16",
        images="test",
    )
    assert cell["fill"].startswith("train-probes --sweep")
    assert np.isnan(cell["spc"])


def test_a_missing_image_set_asks_for_extraction_again(tmp_path: Path):
    counts = {name: count for name, count in COUNTS.items() if name != "noise"}
    ResultsBuilder(tmp_path / "results").add(counts=counts)
    table = compare("1", read_results(tmp_path / "results"))
    cell = one(table, pattern="H", backbone="vgg16", images="noise")
    assert "extract-features --backbone vgg16" in cell["fill"]
    assert cell["fill"].count("--overwrite") == 2


def test_a_missing_seed_is_marked_and_has_its_command(tmp_path: Path):
    more = [HeadSpec(ALL, 3, 1, 0, "H", seed) for seed in range(3)]
    ResultsBuilder(tmp_path).add(heads=[*more, HeadSpec(ALL, 3, 1, 0, "V")])
    results = read_results(tmp_path)
    table = compare("1", results, backbone=["vgg16"])
    cell = one(table, pattern="V", images="test")
    assert "--seeds 3" in cell["fill"]
    (text,) = (markdown(grid) for grid in grids(table))
    assert "fewer seeds" in text
    assert "sd (seeds)" in text


def test_seeds_are_averaged_with_their_deviation(tmp_path: Path):
    heads = [HeadSpec(ALL, 3, 1, 0, "H", seed) for seed in range(3)]
    ResultsBuilder(tmp_path, score=lambda b, p, head, images: (0.5 + 0.1 * head.seed, 0.1)).add(
        heads=heads
    )
    measured = measure(read_results(tmp_path))
    row = one(measured, images="test")
    assert row["spc"] == pytest.approx(0.6, abs=1e-6)
    assert row["spc_sd"] == pytest.approx(0.1, abs=1e-6)
    assert row["n_seeds"] == 3


def test_undefined_scores_are_words_never_numbers(tmp_path: Path):
    demo_results(tmp_path)
    (text,) = blocks(tmp_path, "1")
    header = next(line for line in text.splitlines() if "black SPC" in line)
    column = [cell.strip() for cell in header.split("|")].index("black SPC")
    ours = [line.split("|") for line in text.splitlines() if "| ours" in line]
    shown = {line[column].strip() for line in ours}
    assert shown == {"undefined", "missing"}


def test_partly_undefined_scores_are_marked(tmp_path: Path):
    ResultsBuilder(tmp_path).add()
    path = tmp_path / "vgg16-random-zeros" / "image_scores.csv"
    images = pd.read_csv(path)
    head = "H-f1+f2+f3+f4+f5-k3-d1-p0-s0"
    rows = images.index[(images["head"] == head) & (images["images"] == "test")]
    images.loc[rows[:3], "spc"] = np.nan
    images.to_csv(path, index=False)
    scores = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    scores["spc"] = pd.to_numeric(scores["spc"])
    row = scores.index[(scores["head"] == head) & (scores["images"] == "test")][0]
    scores.loc[row, "spc"] = images.loc[rows, "spc"].mean()
    scores.loc[row, "n_undefined"] = 3
    scores.to_csv(tmp_path / "scores.csv", index=False)
    (text,) = blocks(tmp_path, "1")
    assert "¶" in text
    assert "mean over the others" in text


@pytest.mark.parametrize(
    ("status", "mark"), [("falling", "†"), ("diverged", "‡"), ("constant", "§"), ("converged", "")]
)
def test_status_is_a_footnote(tmp_path: Path, status: str, mark: str):
    ResultsBuilder(tmp_path).add(status=status)
    (text,) = blocks(tmp_path, "1")
    assert [m for m in cells.MARKS if m in text] == ([mark] if mark else [])


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.742, False, ".742"),
        (-0.001, False, "-.001"),
        (1.0, False, "1.000"),
        (0.0, False, ".000"),
        (-0.0001, False, ".000"),
        (0.0384, True, "+.038"),
        (-0.0002, True, ".000"),
        (-1.25, True, "-1.250"),
        (float("nan"), False, "–"),
    ],
)
def test_numbers_print_as_in_the_paper(value: float, signed: bool, text: str):
    assert cells.number(value, signed=signed) == text


def test_filters_keep_what_they_name(tmp_path: Path):
    demo_results(tmp_path)
    results = read_results(tmp_path)
    table = compare("3", results, levels=["f5", "all"])
    assert set(table["reads"]) == {"f5", "all"}
    assert set(compare("1", results, backbone=["vgg16"])["backbone"]) == {"vgg16"}
    with pytest.raises(UserError, match=r"--backbone vgg19: use one of .*pixels"):
        compare("1", results, backbone=["vgg19"])
    with pytest.raises(UserError, match=r"--levels f9: use one of .*f5"):
        compare("1", results, levels=["f9"])
    with pytest.raises(UserError, match="leave one of them out"):
        select(measure(results), ["pixels"], ["f5"])


def test_names_from_outside_cannot_break_a_table(tmp_path: Path):
    wild = "<b>|net_1&\\x{}$%#~^"
    heads = [HeadSpec(ALL, 3, 1, 0, "H")]
    sources = {"train": "/data/a|b_<i>/träin", "test": "/data/数据"}
    ResultsBuilder(tmp_path).add(wild, heads=heads, run="wild", sources=sources)
    (text,) = blocks(tmp_path, "1")
    assert "<b>" not in text
    assert "<i>" not in text
    assert "\\|net" in text
    assert escape(wild) == (
        r"\textless{}b\textgreater{}\textbar{}net\_1\&\textbackslash{}x\{\}\$\%\#"
        r"\textasciitilde{}\textasciicircum{}"
    )


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path):
    wild = "<b>|net_1&\\x{}$%#~^\"'`"
    sources = {"train": "/data/a|b_<i>/träin", "test": "/data/数据"}
    builder = demo_results(tmp_path / "results")
    builder.add(wild, run="wild", heads=[HeadSpec(ALL, 3, 1, 0, "H")], sources=sources)
    builder.add("resnet152", status="falling", seeds=2)
    arguments = ["--results-dir", str(tmp_path / "results"), "--out", str(tmp_path / "tables")]
    result = CliRunner().invoke(main, [*arguments, "--format", "tex"])
    assert result.exit_code == 0, result.output
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "tables" / "tables.pdf").stat().st_size > 10_000


def test_the_command_prints_tables_1_to_4_and_writes_files(tmp_path: Path):
    demo_results(tmp_path / "results")
    arguments = ["--results-dir", str(tmp_path / "results"), "--out", str(tmp_path / "tables")]
    formats = [f"--format={name}" for name in ("md", "csv", "tex")]
    result = CliRunner().invoke(main, [*arguments, *formats])
    assert result.exit_code == 0, result.output
    for name in ("1", "2a", "2b", "3", "4"):
        assert f"Table {name}." in result.output
    for name in ("1", "2a", "2b", "3", "4", "R2"):
        for ending in ("md", "csv", "tex"):
            assert (tmp_path / "tables" / f"table_{name}.{ending}").stat().st_size > 0


def test_damaged_or_absent_results_end_with_one_line(tmp_path: Path):
    result = CliRunner().invoke(main, ["--results-dir", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "run train-probes first" in result.stderr


def test_an_unwritable_folder_is_refused(tmp_path: Path):
    demo_results(tmp_path / "results")
    (tmp_path / "file").write_text("")
    arguments = ["--results-dir", str(tmp_path / "results"), "--out", str(tmp_path / "file" / "x")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "choose another --out" in result.stderr


def test_no_torch_is_imported(tmp_path: Path):
    demo_results(tmp_path / "results", maps=True)
    script = (
        "import sys; from analysis.cli import main; "
        f"main(['--results-dir', {str(tmp_path / 'results')!r}, '--out', "
        f"{str(tmp_path / 'tables')!r}, '--format', 'md', '--format', 'html'], "
        "standalone_mode=False); "
        "assert 'pandas' in sys.modules; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'torchvision')])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_study_table_holds_every_readout_once(tmp_path: Path):
    builder = demo_results(tmp_path).add(weights="imagenet").add("own_net")
    results = read_results(builder.folder)
    table = study(measure(results))
    natural = results.scores[results.scores["images"] == "test"]
    assert len(table) == len(natural)
    merged = table.merge(natural, on=["run", "pattern", "levels", "kernel_size", "depth"])
    assert len(merged.query("probe_padding_x == probe_padding_y")) == len(natural)
    (grid,) = grids(table)
    text = markdown(grid)
    assert "published" not in text
    assert "vgg16-imagenet-zeros" in text
    assert "own_net-random-zeros" in text


def test_only_the_chosen_backbone_and_levels_are_reported(tmp_path: Path):
    demo_results(tmp_path / "results", maps=True)
    arguments = ["--results-dir", str(tmp_path / "results"), "--out", str(tmp_path / "out")]
    chosen = ["--backbone", "vgg16", "--levels", "f5", "--format", "html", "--format", "csv"]
    result = CliRunner().invoke(main, [*arguments, *chosen])
    assert result.exit_code == 0, result.output
    shown = pd.read_csv(tmp_path / "out" / "table_3.csv")
    assert set(shown["reads"]) == {"f5"}
    assert "PosENet" not in (tmp_path / "out" / "report.html").read_text()
