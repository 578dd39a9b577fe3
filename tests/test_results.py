"""A run's files on disk: whole or known not to be, nothing lost, nothing mixed."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from data.cache.identity import Identity
from data.protocols import PROTOCOLS
from data.targets import PATTERNS
from data.tools.errors import UserError
from probe import results
from probe.heads.spec import HeadSpec
from probe.results import files, writer
from probe.results.files import fault
from probe.results.tables import as_text, csv_bytes, read_rows

SETTINGS = results.RunSettings(
    "paper", PROTOCOLS["paper"].training, "float32", Identity(sources={"train": "here"})
)
RUN = "pixels"


def head(pattern: str = "H", seed: int = 0, value: float = 0.123456789) -> results.HeadResult:
    """A made-up result."""
    spec = HeadSpec(("input",), 3, 1, 0, pattern, seed)
    scores = dict.fromkeys(results.SCORE_COLUMNS, value)
    scores |= {"head": spec.name, "images": "test", "run": RUN, "pattern": pattern, "seed": seed}
    image = {"head": spec.name, "images": "test", "image": "a", "spc": value, "mae": value}
    loss = {"head": spec.name, "epoch": 1, "train_loss": value, "heldout_loss": value}
    weights = {"0.weight": np.full((1, 3, 3, 3), value, np.float32)}
    maps = {"test": np.full((2, 4, 4), value, np.float32)}
    names = {"test": ["a", "b"]}
    return results.HeadResult(
        spec, [scores], [image], [loss], weights, {"channels": 3}, maps, names, dict(maps)
    )


def opened(folder: Path, settings: results.RunSettings = SETTINGS, **options):
    return results.ResultsWriter(folder / RUN, settings, threads=1, **options)


def made(folder: Path, *heads: results.HeadResult) -> Path:
    with opened(folder):
        for each in heads:
            results.write_heads(folder / RUN, [each])
    return folder / RUN


def contents(folder: Path) -> dict[str, bytes]:
    """Every table, byte for byte, and every array of the heads."""
    found = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    with h5py.File(folder / "heads.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def test_the_order_of_writing_leaves_no_trace(tmp_path: Path):
    one = made(tmp_path / "one", head("H"), head("V"), head("G"))
    with opened(tmp_path / "two"):
        results.write_heads(tmp_path / "two" / RUN, [head("G"), head("H", value=0.5)])
    two = made(tmp_path / "two", head("V"), head("H"))
    assert contents(one) == contents(two)
    assert "0.123457" in (one / "scores.csv").read_text()
    assert "0.1234567" not in (one / "scores.csv").read_text()


def test_many_writers_at_once_lose_nothing(tmp_path: Path):
    def work(seed: int) -> None:
        with opened(tmp_path) as own:
            for pattern in PATTERNS:
                results.write_heads(own.folder, [head(pattern, seed)])
            results.write_all_scores(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    expected = {head(pattern, seed).spec.name for pattern in PATTERNS for seed in range(8)}
    for name in ("scores.csv", "image_scores.csv", "losses.csv"):
        assert read_rows(tmp_path / RUN / name)["head"].tolist() == sorted(expected)
    with h5py.File(tmp_path / RUN / "heads.h5") as file:
        assert set(file) == expected
    assert set(read_rows(tmp_path / "scores.csv")["head"]) == expected
    assert fault(tmp_path / RUN) is None


def test_writers_at_once_have_checkpoints_of_their_own(tmp_path: Path):
    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert [path.name for path in first.checkpoints] == ["checkpoint.pt"]
        assert [path.name for path in second.checkpoints] == ["checkpoint-2.pt"]
        second.checkpoints[0].write_bytes(b"begun")
    with opened(tmp_path) as third:  # goes on with what was begun
        assert [path.name for path in third.checkpoints] == ["checkpoint-2.pt"]
    assert len(list((tmp_path / RUN).glob(".pass-*"))) == 2


OTHER = replace(SETTINGS, precision="bfloat16")


def test_a_writer_with_other_settings_is_refused_while_one_is_at_work(tmp_path: Path):
    with opened(tmp_path):
        with pytest.raises(UserError, match=r"at work on .*pixels with other settings .*precision"):
            opened(tmp_path, OTHER).__enter__()
        with pytest.raises(UserError, match="wait until it has ended"):
            opened(tmp_path, overwrite=True).__enter__()
        with opened(tmp_path):  # the refused ones left nothing behind
            pass


def test_a_run_that_holds_nothing_blocks_nothing(tmp_path: Path):
    with opened(tmp_path):
        pass  # ended before its first epoch
    results.refuse_other_settings(tmp_path / RUN, OTHER)
    with opened(tmp_path, OTHER):
        pass
    assert results.read_settings(tmp_path / RUN).precision == "bfloat16"


@pytest.mark.parametrize("holds", ["head", "checkpoint"])
def test_a_run_that_holds_something_refuses_other_settings(tmp_path: Path, holds: str):
    folder = made(tmp_path, *([head()] if holds == "head" else []))
    if holds == "checkpoint":
        (folder / "checkpoint.pt").write_bytes(b"begun")
    for refuse in (
        lambda: results.refuse_other_settings(folder, OTHER),
        lambda: opened(tmp_path, OTHER).__enter__(),
    ):
        with pytest.raises(UserError, match=r'precision: "float32" there, "bfloat16" here'):
            refuse()


def test_content_is_compared_not_places_or_versions(tmp_path: Path):
    made(tmp_path, head())
    elsewhere = replace(
        SETTINGS.cache, sources={"train": "/there"}, versions={"torch": "9"}, weights_source="x.pt"
    )
    with opened(tmp_path, replace(SETTINGS, cache=elsewhere)) as again:
        assert again.finished_heads() == {head().spec.name}
    with pytest.raises(UserError, match="image_size: 224 there, 64 here"):
        opened(tmp_path, replace(SETTINGS, cache=replace(elsewhere, image_size=64))).__enter__()


def test_nan_in_the_provenance_is_equal_to_itself(tmp_path: Path):
    odd = replace(SETTINGS, cache=Identity(weights_provenance={"iou": [float("nan")]}))
    with opened(tmp_path, odd):
        results.write_heads(tmp_path / RUN, [head()])
    with opened(tmp_path, odd) as again:
        assert again.finished_heads()


def test_settings_survive_json():
    known = replace(SETTINGS, threads=3, about={"torch": "2"})
    assert results.RunSettings.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_threads_are_those_the_run_was_begun_with(tmp_path: Path):
    with results.ResultsWriter(tmp_path / RUN, SETTINGS, threads=3) as own:
        assert own.threads == 3
        results.write_heads(own.folder, [head()])
    with opened(tmp_path) as own:
        assert own.threads == 3
    with pytest.raises(UserError, match="threads: 3 there, 2 here"):
        opened(tmp_path, replace(SETTINGS, threads=2)).__enter__()


@pytest.mark.parametrize("name", ["scores.csv", "image_scores.csv", "losses.csv", "heads.h5"])
@pytest.mark.parametrize("damage", ["lost", "cut", "edited"])
def test_a_run_with_a_damaged_file_begins_anew(tmp_path: Path, capsys, name: str, damage: str):
    folder = made(tmp_path, head("H"), head("V"))
    whole = contents(folder)
    content = (folder / name).read_bytes()
    if damage == "lost":
        (folder / name).unlink()
    else:
        half = len(content) // 2
        changed = content[:half] + (bytes([content[half] ^ 1]) + content[half + 1 :])
        (folder / name).write_bytes(content[:half] if damage == "cut" else changed)
    with pytest.raises(UserError, match="run the same train-probes again"):
        results.write_heads(folder, [head("G")])
    with opened(tmp_path) as own:
        assert own.finished_heads() == set()
        assert name in capsys.readouterr().err
        results.write_heads(folder, [head("H"), head("V")])
    assert contents(folder) == whole


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_heads_without_settings_are_not_kept(tmp_path: Path, text: str | None):
    folder = made(tmp_path, head())
    (folder / "run.json").unlink() if text is None else (folder / "run.json").write_text(text)
    results.refuse_other_settings(folder, OTHER)
    with opened(tmp_path, OTHER) as own:
        assert own.finished_heads() == set()


def test_another_version_is_refused(tmp_path: Path):
    folder = made(tmp_path, head())
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(document | {"schema": 99}))
    with pytest.raises(UserError, match=r"schema 99.*--results-dir.*--overwrite"):
        opened(tmp_path).__enter__()
    with opened(tmp_path, overwrite=True) as own:
        assert own.finished_heads() == set()


def test_a_run_of_a_version_without_lists_is_whole_if_nothing_is_missing(tmp_path: Path):
    folder = made(tmp_path, head())
    document = json.loads((folder / "run.json").read_text())
    kept = {key: value for key, value in document.items() if key not in ("files", "threads")}
    (folder / "run.json").write_text(json.dumps(kept))
    with opened(tmp_path) as own:
        assert own.finished_heads() == {head().spec.name}
    (folder / "losses.csv").unlink()
    with opened(tmp_path) as own:
        assert own.finished_heads() == set()


@pytest.mark.parametrize("failing", range(6))
def test_a_writer_that_dies_half_way_loses_no_finished_head(
    tmp_path: Path, monkeypatch, failing: int
):
    folder = made(tmp_path, head("H"))
    whole = contents(made(tmp_path / "whole", head("H"), head("V")))
    calls = []
    real = files.write_bytes

    def dies(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) > failing:
            raise KeyboardInterrupt
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            results.write_heads(folder, [head("V")])
    assert len(calls) == failing + 1
    with opened(tmp_path) as own:
        assert head("H").spec.name in own.finished_heads()
        for name in own.finished_heads():
            results.read_head(tmp_path, RUN, name)
        results.write_heads(folder, [head("V")])
    assert contents(folder) == whole


def test_a_copy_of_a_run_beside_it_is_left_out(tmp_path: Path, capsys):
    made(tmp_path, head("H"))
    shutil.copytree(tmp_path / RUN, tmp_path / f"{RUN} (backup)")
    (tmp_path / "a-link").symlink_to(tmp_path / RUN)
    made(tmp_path, head("V"))
    scores = pd.read_csv(results.write_all_scores(tmp_path))
    assert set(scores["run"]) == {RUN}
    assert not scores.duplicated(["run", "head", "images"]).any()
    assert capsys.readouterr().err.count("is a copy of the run pixels") == 2


def test_a_renamed_run_is_called_by_its_folder(tmp_path: Path):
    made(tmp_path, head("H")).rename(tmp_path / "mine")
    assert set(pd.read_csv(results.write_all_scores(tmp_path))["run"]) == {"mine"}


def test_no_scores_at_all_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no head was trained"):
        results.write_all_scores(tmp_path)


def test_any_name_of_an_image_is_one_cell(tmp_path: Path):
    names = ["a\rb.png", 'say "cheese",\n.png', "caf\udce9.png", "=1+1", "ok.png", "", "NA"]
    rows = as_text([{"head": "x", "image": name} for name in names])
    (tmp_path / "names.csv").write_bytes(csv_bytes(rows))
    read = read_rows(tmp_path / "names.csv")["image"].tolist()
    assert read == [name.replace("\udce9", "\\udce9") for name in names]


def test_a_disk_without_locks_is_warned_of_and_used(tmp_path: Path, monkeypatch, capsys):
    def refuses(*_: object) -> None:
        raise OSError(71, "Protocol error")

    monkeypatch.setattr("data.tools.locks.fcntl.lockf", refuses)
    folder = made(tmp_path, head())
    assert writer.read_settings(folder) is not None
    assert "no locks available" in capsys.readouterr().err
