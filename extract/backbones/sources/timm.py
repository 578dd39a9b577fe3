"""Backbones of timm, `timm:NAME`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from data.tools.errors import UserError
from extract.backbones.sources.architecture import TAP_RECIPES, Architecture, seeded
from extract.backbones.table import TIMM_PREFIX
from extract.backbones.taps import MAX_TAPS


def build(name: str, seed: int, image_size: int) -> Architecture:
    """The model that timm calls by `name` without its prefix."""
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
    with seeded(seed):
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
