"""Architectures: untrained networks from torchvision or timm, with their taps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from data.tools.errors import UserError
from extract.backbones.checkpoints.heads import drop_heads
from extract.backbones.imagenet import imagenet_weights
from extract.backbones.table import TIMM_PREFIX, find_row
from extract.backbones.taps import MAX_TAPS

TAP_RECIPES = ("paper", "released", "reproduction")


@dataclass(frozen=True)
class Architecture:
    """An untrained network without its classifier."""

    module: nn.Module
    taps: dict[str, tuple[str, ...]]  # recipe -> node names, f1 first
    channels_last: bool  # its maps are (B, h, w, C)
    pretrained: Callable[[], tuple[dict[str, Tensor], str]]  # state dict, and where it is from
    normalization: str | None = None  # what its weights want instead of ImageNet's; None: that


def build(name: str, *, seed: int, image_size: int) -> Architecture:
    """The architecture `name` with its library's own initialisation, drawn from `seed`.

    The global random state is left alone. `UserError` when the name is unknown, or the network
    cannot be built for images of `image_size` pixels a side.
    """
    builder = _from_timm if name.startswith(TIMM_PREFIX) else _from_torchvision
    return builder(name, seed, image_size)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # torch.manual_seed would reseed every GPU as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _from_torchvision(name: str, seed: int, image_size: int) -> Architecture:
    row = find_row(name)
    arguments = dict(row.arguments)
    if row.size_argument == "image_size":
        arguments["image_size"] = image_size
    elif row.size_argument == "input_size":
        arguments["input_size"] = (image_size, image_size)
    with _seeded(seed):
        try:
            module = models.get_model(name, weights=None, **arguments)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{name} cannot be built for {image_size}x{image_size} images ({error}): "
                f"use 224x224 ({row.note})"
            ) from error
    drop_heads(module)
    return Architecture(
        module,
        taps={recipe: row.taps_for(recipe) for recipe in TAP_RECIPES},
        channels_last=row.channels_last,
        pretrained=lambda: imagenet_weights(name),
    )


def _from_timm(name: str, seed: int, image_size: int) -> Architecture:
    try:
        import timm
    except ImportError:
        raise UserError(
            f"backbone {name!r}: timm is not installed; pip install 'position-probes[timm]'"
        ) from None
    model = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(model):
        close = ", ".join(timm.list_models(f"*{model.split('_')[0]}*")[:10])
        hint = f"; near it are {close}" if close else ""
        raise UserError(f"unknown backbone {name!r}: see timm.list_models(){hint}")
    arguments: dict[str, Any] = {"num_classes": 0}
    published = timm.get_pretrained_cfg(model)
    if published is not None and published.fixed_input_size:
        arguments["img_size"] = image_size
    with _seeded(seed):
        try:
            module = timm.create_model(model, **arguments)
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            raise UserError(
                f"{name} cannot be built for {image_size}x{image_size} images ({error}): "
                "use another image size"
            ) from error

    def pretrained() -> tuple[dict[str, Tensor], str]:
        try:
            trained: Any = timm.create_model(model, pretrained=True, **arguments)
        except Exception as error:  # the hub, the network, the disk, timm: each raises its own
            raise UserError(
                f"weights 'imagenet' of {name} are not in the Hugging Face cache and could not be "
                f"downloaded ({error}): use --weights random or --weights FILE"
            ) from error
        source = trained.pretrained_cfg.get("hf_hub_id") or trained.pretrained_cfg.get("url")
        return trained.state_dict(), str(source)

    return Architecture(
        module,
        taps=dict.fromkeys(TAP_RECIPES, _spread(module.feature_info)),
        channels_last=getattr(module, "output_fmt", None) == "NHWC",
        pretrained=pretrained,
        normalization=_configured(published),
    )


def _configured(published: Any) -> str | None:
    """The mean and deviation of timm's own configuration of a model, as `MEAN/STD`."""
    if published is None:
        return None
    return "/".join(
        ",".join(f"{v:.6g}" for v in colour) for colour in (published.mean, published.std)
    )


def _spread(stages: Any) -> tuple[str, ...]:
    # timm lists one node per stage, or per block of a transformer: five of them, evenly spread
    # and ending with the last; all of them where there are fewer.
    nodes = list(dict.fromkeys(str(stage["module"]) for stage in stages))
    if len(nodes) <= MAX_TAPS:
        return tuple(nodes)
    ends = (-(-len(nodes) * part // MAX_TAPS) - 1 for part in range(1, MAX_TAPS + 1))
    return tuple(nodes[end] for end in ends)
