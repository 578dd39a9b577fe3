"""What runs a frozen backbone: torch itself, or on a processor OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.images.samples import sample_image
from data.protocols import FeatureRecipe
from data.tools.errors import UserError
from data.vocabulary import OPENVINO
from extract.backbones.backbone import Backbone
from extract.backbones.normalization import normalize
from extract.backbones.taps import run_taps
from extract.precision import DTYPES

Take = Callable[[str, Tensor], None]  # a tap's node and its output, which the next may overwrite
Engine = Callable[[Tensor, Take], None]  # one forward pass of images (B, 3, S, S), as `run_taps`

_HINTS = {"fp32": "f32", "bf16": "bf16"}
# Beyond what torch itself loses in the same format, of a level's largest value.
_SLACK = 1e-3


def check_engine(name: str, device: torch.device) -> None:
    """Raise `UserError` where the engine is not installed, or not for this device."""
    if name == OPENVINO and device.type != "cpu":
        raise UserError(f"--engine openvino runs on a processor, not on {device}: add --device cpu")
    if name == OPENVINO:
        _openvino()


def make_engine(name: str, backbone: Backbone, recipe: FeatureRecipe, precision: str) -> Engine:
    """The engine of this name, for features of `recipe` in `precision`."""
    if name == OPENVINO:
        return OpenVINO(backbone, precision, backbone.normalization(recipe.normalization))
    return torch_engine(backbone)


def engine_version(name: str) -> dict[str, str]:
    """Library -> version, of what torch's own versions do not say."""
    return {"openvino": _openvino().__version__} if name == OPENVINO else {}


def torch_engine(backbone: Backbone) -> Engine:
    """The backbone's module itself, with hooks at its taps."""
    nodes = list(backbone.taps.values())
    return lambda images, take: run_taps(backbone.module, nodes, images, take)


class OpenVINO:
    """A backbone in OpenVINO, compiled for each shape of batch that it meets.

    Before its first batch it is held against torch, on samples: each level may differ from
    float32 by twice what torch differs in the same format, and `_SLACK`.

    Raises `UserError` when OpenVINO is not installed, cannot express the backbone, or gives
    something else.
    """

    def __init__(self, backbone: Backbone, precision: str, normalization: str) -> None:
        self._backbone, self._precision = backbone, precision
        self._normalization = normalization
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, images: Tensor, take: Take) -> None:
        """The outputs of all taps, one after the other; they are valid inside `take` alone."""
        shape = tuple(images.shape)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(shape)
            self._check(shape)
        self._run(images, take)

    def _run(self, images: Tensor, take: Take) -> None:
        found = self._compiled[tuple(images.shape)](images.contiguous().numpy())
        for node, output in zip(self._backbone.taps.values(), found.values(), strict=True):
            take(node, torch.from_numpy(output))

    def _compile(self, shape: tuple[int, ...]) -> Any:
        openvino = _openvino()
        network = _Taps(self._backbone)
        try:
            with warnings.catch_warnings(), torch.autocast("cpu", enabled=False):
                warnings.simplefilter("ignore")  # of torch's tracing, about itself
                model = openvino.convert_model(network, example_input=torch.zeros(2, *shape[1:]))
            model.reshape(list(shape))
            return openvino.Core().compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                    "NUM_STREAMS": 1,
                },
            )
        except Exception as error:  # whatever its front end stumbles over
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise UserError(
                f"OpenVINO cannot run {self._backbone.name} ({reason[0][:200]}): use --engine torch"
            ) from error

    def _check(self, shape: tuple[int, ...]) -> None:
        pixels = np.stack([sample_image(index, 0, shape[-1]) for index in range(shape[0])])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        images = normalize(images, self._normalization)
        dtype = DTYPES[self._precision]
        run = torch_engine(self._backbone)
        with torch.autocast("cpu", enabled=False):
            exact = _levels(run, images)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            rounded = _levels(run, images)
        for node, found in _levels(self._run, images).items():
            off, allowed = (_distance(maps, exact[node]) for maps in (found, rounded[node]))
            if not off <= 2 * allowed + _SLACK:
                raise UserError(
                    f"OpenVINO computes {self._backbone.name}'s {node} otherwise than torch "
                    f"({off:.2g} of its largest value, torch in {self._precision}: "
                    f"{allowed:.2g}): use --engine torch"
                )


class _Taps(nn.Module):
    """A backbone as a function of images alone, as a front end traces it."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._module = backbone.module
        self._nodes = tuple(backbone.taps.values())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        # A copy, because the next module may be an in-place ReLU.
        run_taps(self._module, self._nodes, images, lambda n, out: found.update({n: out.clone()}))
        return tuple(found[node] for node in self._nodes)


def _levels(engine: Engine, images: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    engine(images, lambda node, output: found.update({node: output.float().clone()}))
    return found


def _distance(maps: Tensor, exact: Tensor) -> float:
    """The largest difference, over the largest value."""
    return float((maps - exact).abs().max() / exact.abs().max().clamp(min=1e-30))


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise UserError(
            "--engine openvino needs a package that is not installed: pip install openvino"
        ) from None
    return openvino
