"""Every field of every stage's configuration refuses what it cannot be, in the caller's words."""

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from analysis.cli import main as make_tables
from analysis.config import TablesConfig
from data.tools.errors import UserError
from data.tools.settings import MAX_SEED, listed, named_as_options, spelled
from extract.cli import main as extract_features
from extract.config import ExtractConfig
from extract.placed.config import PlacedConfig
from extract.tasks.cli import main as train_backbone
from extract.tasks.maps.config import MapConfig
from extract.tasks.pooled.config import PooledConfig
from extract.tasks.red_green.config import RedGreenConfig
from extract.tasks.rook.config import RookConfig
from extract.tasks.targeting.config import TargetingConfig
from probe.channels.config import ChannelConfig
from probe.cli import main as train_probes
from probe.config import ProbeConfig
from probe.consistency.config import ConsistencyConfig
from probe.placed.config import PlacedProbeConfig
from probe.segmentation.config import SegmentationConfig

NEEDED: dict[Any, dict[str, Any]] = {
    ExtractConfig: {"backbone": "vgg16"},
    MapConfig: {"task": "saliency", "out": "saliency.pt"},
    ProbeConfig: {},
    PlacedConfig: {"backbone": "vgg16", "placed": "grid", "grid": (3,)},
    PlacedProbeConfig: {},
    ChannelConfig: {},
    SegmentationConfig: {},
    ConsistencyConfig: {},
    RookConfig: {"task": "rook"},
    RedGreenConfig: {"task": "red-green"},
    TargetingConfig: {"task": "targeting", "weights": "segmentation.pt"},
    PooledConfig: {"task": "classification"},
    TablesConfig: {},
}
FIELDS = [(config, field) for config in NEEDED for field in dataclasses.fields(config)]
each_field = pytest.mark.parametrize(
    ("config", "field"),
    FIELDS,
    ids=[f"{config.__name__}.{field.name}" for config, field in FIELDS],
)


def build(config: Any, **changes: Any) -> Any:
    return config(**{**NEEDED[config], **changes})


def kind_of(config: Any, field: dataclasses.Field) -> tuple[Any, bool]:
    """The type of the field's values, and whether it holds several."""
    hint = typing.get_type_hints(config)[field.name]
    parts = [part for part in typing.get_args(hint) if part not in (type(None), Ellipsis)]
    return (parts or [hint])[0], typing.get_origin(hint) is tuple


@each_field
def test_every_field_refuses_another_type(config: Any, field: dataclasses.Field) -> None:
    kind, several = kind_of(config, field)
    wrong: dict[Any, list[Any]] = {
        int: ["3", 2.5, True, math.nan, [3]],
        float: ["0.1", math.nan, math.inf, True],
        str: [3, b"name", "", ["x"]],
        bool: ["yes", 1, None],
        Path: [3, "", b"folder", "a\0b"],
    }
    for value in wrong[kind]:
        with pytest.raises(UserError, match=f"^{field.name} "):
            build(config, **{field.name: (value,) if several else value})
    if several:
        with pytest.raises(UserError, match=f"^{field.name} .*must be a tuple"):
            build(config, **{field.name: "f5"})


@each_field
def test_a_choice_that_is_none_is_refused_with_the_good_ones(
    config: Any, field: dataclasses.Field
) -> None:
    kind, several = kind_of(config, field)
    if not field.metadata["choices"]:
        return
    value = "nonsense" if kind is str else 99
    with pytest.raises(UserError, match=f"^{field.name} {value!r} is unknown: use"):
        build(config, **{field.name: (value,) if several else value})


@each_field
def test_numbers_have_a_range(config: Any, field: dataclasses.Field) -> None:
    kind, several = kind_of(config, field)
    if kind not in (int, float):
        return
    with pytest.raises(UserError, match=f"^{field.name} "):
        build(config, **{field.name: (-1,) if several else kind(-1)})


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (ProbeConfig, {"solver": "extact"}, "solver 'extact' is unknown: use one of sgd, exact"),
        (ExtractConfig, {"compression": "gzip"}, "compression 'gzip' is unknown"),
        (ExtractConfig, {"normalization": "imagnet"}, "normalization 'imagnet': .*imagenet"),
        (ExtractConfig, {"seed": 2**64}, f"seed {2**64} must be at most {MAX_SEED}"),
        (ExtractConfig, {"taps": "layer1,,layer2"}, "taps 'layer1,,layer2': give names"),
        (ExtractConfig, {"taps": " "}, "taps ' ': give names"),
        (ExtractConfig, {"num_shards": 2, "shard_index": 2}, "shard_index 2 must be 0 to 1"),
        (ProbeConfig, {"levels": ("f9",)}, "levels 'f9': no level is called 'f9': use one of f5"),
        (ProbeConfig, {"levels": ("f1+",)}, "levels 'f1\\+': no level is called ''"),
        (ProbeConfig, {"scheduler": "host", "backend": "dask"}, "scheduler 'host': give the"),
        (ProbeConfig, {"scheduler": "tcp://h:1"}, "scheduler tcp://h:1 is of a cluster"),
        (ExtractConfig, {"backend": "dask"}, "backend dask needs scheduler tcp"),
        (ProbeConfig, {"device": "gpu"}, "device 'gpu': use auto, cpu, cuda"),
        (ProbeConfig, {"kernel_size": (2,)}, "kernel_size 2 is unknown: use one of 1, 3, 5, 7"),
        (MapConfig, {"learning_rate": 0.0}, "learning_rate 0.0: must be above 0"),
        (MapConfig, {"limit": 3}, "limit 3: leaves no image to validate on"),
    ],
)  # fmt: skip
def test_what_is_refused_from_python(config: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        build(config, **changes)


@pytest.mark.parametrize(
    ("command", "options", "code", "message"),
    [
        (train_probes, ["--solver", "extact"], 2, "--solver"),
        (train_probes, ["--kernel-size", "2"], 1, "error: --kernel-size 2 is unknown"),
        (train_probes, ["--jobs", "0"], 1, "error: --jobs 0 must be at least 1"),
        (train_probes, ["--levels", "f9"], 1, "error: --levels 'f9': no level"),
        (train_probes, ["--solver", "exact", "--epochs", "3"], 1, "has no use for --epochs"),
        (train_probes, ["--solver", "exact", "--steps", "3"], 1, "has no use for --steps"),
        (train_probes, ["--steps", "0"], 1, "error: --steps 0 must be at least 1"),
        (train_probes, ["--epochs", "3", "--steps", "9"], 1, "--epochs 3 and --steps 9 both say"),
        (extract_features, ["--backbone", "vgg16", "--seed", "-1"], 1, "--seed -1 must be at"),
        (extract_features, ["--backbone", "vgg16", "--taps", "a,a"], 1, "--taps 'a,a': give"),
        (train_backbone, ["--task", "saliency", "--out", "s.pt", "--epochs", "0"], 1, "--epochs 0"),
        (make_tables, ["--claims", "--compare"], 1, "--claims and --compare"),
    ],
)  # fmt: skip
def test_the_command_line_says_it_in_its_own_words(
    command: Any, options: list[str], code: int, message: str
) -> None:
    outcome = CliRunner().invoke(command, options)
    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert code == 2 or outcome.stderr.count("\n") == 1


def test_paths_may_be_texts_and_tuples_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config = ProbeConfig(cache_dir="~/features", levels=["f5", "f1", "f5"], seeds=np.int64(2))  # type: ignore[arg-type]
    assert config.cache_dir == Path("/home/somebody/features")
    assert config.levels == ("f5", "f1")
    assert (config.seeds, type(config.seeds)) == (2, int)
    options = ["--results-dir=~/none", "--format", "csv"]
    assert "/home/somebody/none" in CliRunner().invoke(make_tables, options).stderr
    assert build(ExtractConfig, taps=" layer1 , layer2").tap_names == ("layer1", "layer2")


@given(st.text(alphabet="abcdefghij_", min_size=1, max_size=12))
def test_unknown_names_are_answered_with_at_most_five(name: str) -> None:
    few, many = ("alpha", "beta"), tuple(f"name{number}" for number in range(80))
    assert listed(name, few) == "one of alpha, beta"
    for count in range(6, 12):
        assert listed(name, many[:count]).removesuffix(", ...").count(",") <= 4
    assert listed(name, many).removesuffix(", ...").count(",") <= 4
    assert "name7" in listed("nam7", many)


def test_names_follow_the_caller() -> None:
    assert spelled("kernel_size") == "kernel_size"
    with named_as_options():
        assert spelled("kernel_size") == "--kernel-size"
    assert spelled("kernel_size") == "kernel_size"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (extract_features, ["--weights", "random", "--backbone", "vgg61"]),
        (extract_features, ["--backbone", "vgg11", "--weights", "randm"]),
        (extract_features, ["--backbone", "vgg11", "--padding", "mirror"]),
        (extract_features, ["--backbone", "vgg11", "--paddin", "none"]),
        (train_probes, ["--pattern", "X"]),
        (train_probes, ["--levels", "f9"]),
        (make_tables, ["--table", "99"]),
        (make_tables, ["--format", "docx"]),
        (train_backbone, ["--task", "salience"]),
    ],
)  # fmt: skip
def test_an_unknown_name_on_the_command_line_suggests_at_most_five(
    command: Any, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(command, words)
    assert outcome.exit_code in (1, 2)
    said = outcome.stderr.splitlines()[-1]
    assert words[-1] in said or words[-2] in said
    assert said.replace(", ...", "").count(",") <= 6, said


@pytest.mark.parametrize("command", [extract_features, train_probes, make_tables, train_backbone])
def test_help_has_every_option_once_in_a_group(command: Any) -> None:
    shown = CliRunner().invoke(command, ["--help"]).stdout
    options = [line.split()[0].rstrip(",") for line in shown.splitlines() if line[:4] == "  --"]
    assert len(options) == len(set(options))
    titles = [line for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert len(titles) >= 4
    assert titles[-1] == "Other options:"
    own = [option.name for option in command.params]
    assert set(command.groups) <= set(own)  # no group names what is no option
