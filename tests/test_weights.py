import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, load_backbone
from extract.backbones.checkpoints.label import file_label, state_sha256
from extract.backbones.imagenet import imagenet_weights

State = dict[str, Tensor]


def load(name: str, weights: str | Path, **options: Any) -> Backbone:
    given = {"padding": "zeros", "taps": "paper", "seed": 0, "image_size": 64} | options
    return load_backbone(name, weights=str(weights), **given)


@pytest.fixture(scope="module")
def resnet18_state() -> State:
    torch.manual_seed(7)
    network = models.resnet18(weights=None)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)  # as if trained
    return network.state_dict()


def assert_loaded(backbone: Backbone, state: State) -> None:
    loaded = backbone.module.state_dict()
    assert len(loaded) == 120
    for key, value in loaded.items():
        assert torch.equal(value, state[key]), key


CHECKPOINTS: dict[str, Callable[[State], Any]] = {
    "state dict": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 90},
    "model": lambda state: {"model": state, "args": {"lr": 0.1}},
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "both": lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "no head": lambda state: {k: v for k, v in state.items() if not k.startswith("fc.")},
    "ten classes": lambda state: state | {"fc.weight": torch.ones(10, 512)},
    "no counters": lambda state: {k: v for k, v in state.items() if "batches_tracked" not in k},
}


@pytest.mark.parametrize("form", CHECKPOINTS)
def test_every_form_of_checkpoint_is_read(form: str, resnet18_state: State, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(CHECKPOINTS[form](resnet18_state), path)
    backbone = load("resnet18", path)
    assert_loaded(backbone, resnet18_state)
    assert (backbone.weights, backbone.weights_source) == ("mine", "mine.pth")
    assert not backbone.has_untrained_batch_norm


def test_head_does_not_change_the_digest(resnet18_state: State, tmp_path: Path) -> None:
    digests = set()
    for form in ("state dict", "no head", "ten classes"):
        path = tmp_path / "w.pth"
        torch.save(CHECKPOINTS[form](resnet18_state), path)
        digests.add(load("resnet18", path).weights_sha256)
    assert len(digests) == 1


def test_half_precision_checkpoint_becomes_float32(resnet18_state: State, tmp_path: Path) -> None:
    torch.save({key: value.half() for key, value in resnet18_state.items()}, tmp_path / "half.pth")
    weight = load("resnet18", tmp_path / "half.pth").module.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, resnet18_state["conv1.weight"].half().float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: {k: v for k, v in s.items() if not k.startswith("layer4.")},
            r"25 missing \(layer4.0.conv1.weight, .*\.\.\.\)",
        ),
        (lambda s: s | {"layer5.weight": torch.ones(1)}, r"1 unexpected \(layer5.weight\)"),
        (
            lambda s: s | {"conv1.weight": torch.ones(64, 1, 7, 7)},
            r"1 of another shape \(conv1.weight \(64, 1, 7, 7\) instead of \(64, 3, 7, 7\)\)",
        ),
        (lambda s: {"features.0.weight": torch.ones(1)}, r"missing.*; 1 unexpected"),
        (lambda s: {"fc.weight": torch.ones(10, 512)}, r"missing"),
    ],
)
def test_wrong_architecture_is_refused(
    change: Callable[[State], State], message: str, resnet18_state: State, tmp_path: Path
) -> None:
    torch.save(change(resnet18_state), tmp_path / "other.pth")
    with pytest.raises(UserError, match=rf"do not fit resnet18.*{message}") as refusal:
        load("resnet18", tmp_path / "other.pth")
    assert len(str(refusal.value)) < 600


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a checkpoint"),
        (b"some text", "not a checkpoint"),
        (pickle.dumps(Bomb()), "not a checkpoint"),
        (pickle.dumps({"state_dict": Bomb()}), "not a checkpoint"),
        ([torch.ones(1)], "holds a list that is no state dict"),
        (torch.ones(1), "holds a Tensor that is no state dict"),
        ({}, "hold no state dict of resnet18, only mappings without tensors"),
        ({"epoch": 3}, "hold no state dict of resnet18, only mappings without tensors"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=rf"weights '.*w.pth':? {message}"):
        load("resnet18", path)
    assert not (tmp_path / "exploded").exists()


def test_truncated_checkpoint_is_refused(resnet18_state: State, tmp_path: Path) -> None:
    torch.save(resnet18_state, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a checkpoint"):
        load("resnet18", tmp_path / "w.pth")


def test_missing_file_is_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"'nowhere.pth': no such file; use one of imagenet, random, .* or a checkpoint file",
    ):
        load("resnet18", "nowhere.pth")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("mine.pth", "mine"),
        ("imagenet.pth", "imagenet.pth"),
        ("random.pt", "random.pt"),
        ("hed.h5", "hed.h5"),
        ("-.pth", "pth"),
        ("--.pth", "pth"),
        ("=1+1.pth", "1+1"),
        ("a\x1b[31m\r\nb.pth", r"a\x1b[31m\r\nb".replace("\\", "_")),
        ("\udce9t\u00e9.pth", "_xe9t\u00e9"),
        ("...", "weights"),
    ],
)
def test_label_of_a_file_is_never_mistaken(name: str, label: str) -> None:
    assert file_label(Path("folder") / name, {}) == label


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TORCH_HOME without a network."""

    def offline(*_arguments: Any, **_named: Any) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.usefixtures("hub")
def test_imagenet_weights_never_fall_back() -> None:
    with pytest.raises(
        UserError, match=r"vgg16-397923af.pth.*no network.*--weights random or --weights FILE"
    ):
        load("vgg16", "imagenet")


@pytest.fixture
def publish(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, State], str]:
    """Put a state dict where torchvision's `version` would be, under the name it then has."""

    def put(version: Any, state: State) -> str:
        path = hub / "new.pth"
        torch.save(state, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        folder, _, name = version.url.rpartition("/")
        url = f"{folder}/{name.rpartition('-')[0]}-{digest[:8]}.pth"
        path.rename(hub / Path(url).name)
        monkeypatch.setattr(version.value, "url", url)
        return url

    return put


def test_imagenet_weights_come_from_the_cache(
    publish: Callable[..., str], resnet18_state: State
) -> None:
    url = publish(models.ResNet18_Weights.IMAGENET1K_V1, resnet18_state)  # not V2
    backbone = load("resnet18", "imagenet")
    assert_loaded(backbone, resnet18_state)
    assert backbone.weights == "imagenet"
    assert backbone.weights_source == url


def test_another_file_under_the_name_of_imagenet_is_refused(
    hub: Path, resnet18_state: State
) -> None:
    torch.save(resnet18_state, hub / "resnet18-f37072fd.pth")
    with pytest.raises(
        UserError, match=r"resnet18-f37072fd.pth is not what its name says.*delete it.*FILE"
    ):
        load("resnet18", "imagenet")


def test_auxiliary_classifiers_and_old_key_names_are_understood(
    publish: Callable[..., str],
) -> None:
    torch.manual_seed(1)
    googlenet = models.googlenet(weights=None, init_weights=False, aux_logits=True).state_dict()
    publish(models.GoogLeNet_Weights.IMAGENET1K_V1, googlenet)
    weight = load("googlenet", "imagenet").module.conv1.conv.weight
    assert torch.equal(weight, googlenet["conv1.conv.weight"])

    new = models.densenet121(weights=None).state_dict()
    old = OrderedDict()
    for key, value in new.items():
        for part in ("norm1", "conv1", "norm2", "conv2"):
            if "denselayer" in key:
                key = key.replace(part, f"{part[:-1]}.{part[-1]}")
        old[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    publish(models.DenseNet121_Weights.IMAGENET1K_V1, old)
    module = load("densenet121", "imagenet").module
    key = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(module.state_dict()[key], new[key])


@pytest.mark.parametrize(
    "name", ["vit_h_14", "regnet_y_128gf", "swin_v2_t", "maxvit_t", "vgg16_bn"]
)
def test_weights_of_later_models_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda url, **_options: asked.append(url) or {},
    )
    assert imagenet_weights(name) == ({}, asked[0])
    assert asked[0].endswith(".pth")


def test_digest_covers_names_types_shapes_and_bytes() -> None:
    layer = nn.Linear(2, 1)
    digest = hashlib.sha256()
    for name, value in (("weight", layer.weight), ("bias", layer.bias)):
        digest.update(f"{name} torch.float32 {tuple(value.shape)}\n".encode())
        digest.update(value.detach().numpy().tobytes())
    assert state_sha256(layer) == digest.hexdigest()
    before = state_sha256(layer)
    layer.bias.data.neg_()
    assert state_sha256(layer) != before
    assert len({state_sha256(module) for module in (nn.Linear(2, 1).half(), layer)}) == 2
