"""Checkpoint files as they come: each is read like the plain model, or refused with the remedy."""

import argparse
import json
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, load_backbone
from extract.backbones.weights import WeightsRequest

State = dict[str, Tensor]
IMAGES = torch.linspace(0, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64)


def load(name: str, path: Path, **how: Any) -> Backbone:
    request = WeightsRequest(str(path), **how)
    return load_backbone(
        name, weights=request, padding="zeros", taps="paper", seed=0, image_size=64
    )


@pytest.fixture(scope="module")
def alexnet() -> nn.Module:
    torch.manual_seed(7)
    return models.alexnet(weights=None).eval()


@pytest.fixture(scope="module")
def state(alexnet: nn.Module) -> State:
    return alexnet.state_dict()


def features(state: State) -> State:
    return {key: value for key, value in state.items() if key.startswith("features.")}


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


@torch.no_grad()
def assert_same(backbone: Backbone, plain: nn.Module, tolerance: float = 0) -> None:
    expected, found = plain.features(IMAGES), backbone.module.features(IMAGES)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


FORMS: dict[str, Callable[[State], Any]] = {
    "bare": lambda s: s,
    "compiled DataParallel": lambda s: prefixed("_orig_mod.module.", s),
    "Lightning": lambda s: {"state_dict": prefixed("model.", s), "epoch": 3},
    "averaged": lambda s: {**prefixed("module.", s), "n_averaged": torch.tensor(3)},
    "tutorial": lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {0: {}}}},
    "ema": lambda s: {"model_ema": prefixed("module.", s)},
    "net in params": lambda s: {"params_ema": {"net": prefixed("encoder.", s)}},
    "features alone": lambda s: {k.removeprefix("features."): v for k, v in features(s).items()},
    "features of a sequence": lambda s: {
        "net": {"backbone." + k.removeprefix("features."): v for k, v in features(s).items()}
    },
    "a prefix nobody knows": lambda s: prefixed("our.own_trunk.", features(s)),
    "head of ten": lambda s: {**s, "classifier.6.weight": torch.ones(10, 4096)},
    "namespace": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, out=Path("x"))},
    "numpy": lambda s: {"model": s, "best": np.float64(0.7), "curve": np.arange(3.0)},
    "simple namespace": lambda s: {"model": s, "args": types.SimpleNamespace(lr=0.1)},
    "double": lambda s: {k: v.double() for k, v in s.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_envelopes_and_prefixes(
    form: str, alexnet: nn.Module, state: State, tmp_path: Path
) -> None:
    torch.save(FORMS[form](state), tmp_path / "w.pth")
    assert_same(load("alexnet", tmp_path / "w.pth"), alexnet)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_halves(
    dtype: str, tolerance: float, alexnet: nn.Module, state: State, tmp_path: Path
) -> None:
    halves = {key: value.to(getattr(torch, dtype)) for key, value in state.items()}
    torch.save(halves, tmp_path / "w.pth")
    backbone = load("alexnet", tmp_path / "w.pth")
    assert_same(backbone, alexnet, tolerance)
    weight = backbone.module.features[0].weight
    assert torch.equal(weight, halves["features.0.weight"].float())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_safetensors(dtype: str, alexnet: nn.Module, state: State, tmp_path: Path) -> None:
    tensors = {k: v.to(getattr(torch, dtype)) for k, v in prefixed("backbone.", state).items()}
    tensors["empty"] = torch.zeros(0, 3)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    backbone = load("alexnet", tmp_path / "model.safetensors")
    assert_same(backbone, alexnet, 0 if dtype in ("float32", "float64") else 1e-2)
    assert backbone.weights_match["left_out"]["first"] == ["empty"]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw.replace(b'"F32"', b'"F99"'),
        lambda raw: raw.replace(b'"shape":[', b'"shape":[-'),
        lambda raw: raw[:8] + b"{" * 100 + raw[108:],
    ],
)
def test_forged_safetensors_are_refused(
    change: Callable[[bytes], bytes], state: State, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(features(state), path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load("alexnet", path)


def test_what_is_left_out_is_listed(state: State, tmp_path: Path) -> None:
    decoder = {"decoder.0.weight": torch.ones(2), "decoder.1.weight": torch.ones(2)}
    projector = {"module.projection_head.0.weight": torch.zeros(2, 2)}
    content = {"model": {**prefixed("module.encoder.", state), **projector, **decoder}}
    torch.save(content, tmp_path / "w.pth")
    assert load("alexnet", tmp_path / "w.pth").weights_match == {
        "matched_by": "names",
        "part": "model.module.encoder",
        "left_out": {"count": 2, "first": ["module.projection_head", "decoder"]},
    }


def test_several_candidates_are_refused_until_one_is_named(
    alexnet: nn.Module, state: State, tmp_path: Path
) -> None:
    student = {key: value + 1 for key, value in state.items()}
    content = {"teacher": prefixed("backbone.", state), "student": prefixed("backbone.", student)}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"2 networks.*--weights-key.*teacher.*student"):
        load("alexnet", tmp_path / "w.pth")
    backbone = load("alexnet", tmp_path / "w.pth", key="teacher")
    assert_same(backbone, alexnet)
    assert backbone.weights_match["part"] == "teacher.backbone"
    with pytest.raises(UserError, match=r"under --weights-key 'tutor'.*teacher, student"):
        load("alexnet", tmp_path / "w.pth", key="tutor")


def test_candidates_of_one_mapping_are_told_apart(
    alexnet: nn.Module, state: State, tmp_path: Path
) -> None:
    other = prefixed("module.encoder_k.", {key: value + 1 for key, value in state.items()})
    content = {"state_dict": {**prefixed("module.encoder_q.", state), **other}}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"--weights-key.*state_dict.module.encoder_q"):
        load("alexnet", tmp_path / "w.pth")
    key = "state_dict.module.encoder_q"
    assert_same(load("alexnet", tmp_path / "w.pth", key=key), alexnet)


def test_a_deeper_network_is_not_taken_for_a_shallower_one(tmp_path: Path) -> None:
    torch.save({"net": models.resnet34(weights=None).state_dict()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"do not fit resnet18: keys \d+ unexpected \(layer1.2"):
        load("resnet18", tmp_path / "w.pth")


def test_the_order_has_to_be_asked_for_and_is_recorded(
    alexnet: nn.Module, state: State, tmp_path: Path
) -> None:
    renamed = {f"_layer{index}": value for index, value in enumerate(state.values())}
    torch.save(renamed, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"do not fit alexnet.*--match order"):
        load("alexnet", tmp_path / "w.pth")
    backbone = load("alexnet", tmp_path / "w.pth", by_order=True)
    assert_same(backbone, alexnet)
    record = backbone.weights_match
    assert record["matched_by"] == "order"
    assert record["renamed"]["first"][0] == "_layer0 -> features.0.weight"
    assert record["left_out"]["count"] == 6  # the classifier
    torch.save(dict(reversed(renamed.items())), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"do not fit in their order: features.0.weight"):
        load("alexnet", tmp_path / "w.pth", by_order=True)


def test_order_within_one_part(alexnet: nn.Module, state: State, tmp_path: Path) -> None:
    renamed = {f"_layer{index}": value for index, value in enumerate(state.values())}
    other = {key: value + 1 for key, value in renamed.items()}
    torch.save({"a": prefixed("x.", renamed), "b": other}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"hold 2 mappings of tensors.*--weights-key"):
        load("alexnet", tmp_path / "w.pth", by_order=True)
    for key in ("a", "a.x"):
        assert_same(load("alexnet", tmp_path / "w.pth", by_order=True, key=key), alexnet)


def quantised(weight: Tensor) -> Tensor:
    with warnings.catch_warnings():  # torch is about to give it up; files of it will remain
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)


UNFIT: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sparse": (lambda w: w.to_sparse(), "sparse values"),
    "quantised": (quantised, "quantised|quantized|qint8"),
    "rows": (lambda w: w.flatten(1).to_sparse_csr(), "another shape|sparse"),
    "meta": (lambda w: w.to("meta"), "no values"),
    "bool": (lambda w: w > 0, "torch.bool values"),
    "integer": (lambda w: w.int(), "torch.int32 values"),
    "bytes": (lambda w: w.to(torch.uint8), "torch.uint8 values"),
    "complex": (lambda w: w.to(torch.complex64), "torch.complex64 values"),
    "eight bits": (lambda w: w.to(torch.float8_e4m3fn), "torch.float8_e4m3fn values"),
    "infinite": (lambda w: w / 0, "NaN or infinite values"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("kind", UNFIT)
def test_tensors_of_no_real_numbers_are_refused_by_name(
    kind: str, state: State, tmp_path: Path
) -> None:
    change, message = UNFIT[kind]
    key = "features.3.weight"
    torch.save({**state, key: change(state[key])}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message) as refusal:
        load("alexnet", tmp_path / "w.pth")
    assert key in str(refusal.value)


def test_a_small_zip_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2**22)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
    with pytest.raises(UserError, match=r"MB that unpack to 16\.8 MB"):
        load("alexnet", tmp_path / "w.pth")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        zeros = np.zeros((3, 3, 3, 64), np.float32)
        file.create_dataset("block1_conv1/kernel:0", data=zeros)
        shape = (2**10, 2**10, 2**10)
        file.create_dataset("block1_conv1/more", shape, "f4", chunks=(2**6,) * 3)
    with pytest.raises(UserError, match="MB that unpack to"):
        load("vgg16", tmp_path / "w.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"PK\x05\x06" + bytes(18), "not a checkpoint, or a damaged one"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "not a whole Keras file"),
    ],
)
def test_what_a_file_is_instead_is_said(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load("alexnet", tmp_path / "w.pth")


def test_a_folder_is_named_with_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"is a folder; give a file in it \(model.safetensors\)"):
        load("alexnet", tmp_path)


class Callback:
    pass


def test_the_object_in_the_way_is_named(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": state, "callback": Callback()}, tmp_path / "w.ckpt")
    with pytest.raises(UserError, match=r"it holds a \S*test_checkpoints\.Callback; save one"):
        load("alexnet", tmp_path / "w.ckpt")


def test_home_is_expanded(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(state, tmp_path / "mine.pth")
    assert load("alexnet", Path("~/mine.pth")).weights == "mine"


def test_records_are_json(state: State, tmp_path: Path) -> None:
    many = {f"decoder{number}.{'x' * 500}": torch.ones(1) for number in range(300)}
    torch.save(state | many, tmp_path / "w.pth")
    record = load("alexnet", tmp_path / "w.pth").weights_match
    assert record["left_out"]["count"] == 300
    assert json.loads(json.dumps(record)) == record
    assert len(json.dumps(record)) < 10_000
