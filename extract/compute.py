"""Images to float16 levels in main memory, as fast as the device goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.protocols import FeatureRecipe
from data.tools.device import same_kernels
from data.tools.errors import UserError
from data.tools.terminal import say
from extract.backbones.backbone import Backbone
from extract.engine import make_engine
from extract.levels import LevelExtractor
from extract.precision import DTYPES

_Levels = tuple[dict[str, Tensor], dict[str, Tensor]]  # features and conversion errors


@dataclass(frozen=True)
class HostLevels:
    """Levels on their way to main memory; the arrays may be read once `wait` has returned."""

    features: dict[str, Tensor]  # level -> (B, C, 28, 28) float16
    errors: dict[str, Tensor]  # level -> largest difference made by the conversion, a scalar
    wait: Callable[[], None]

    def arrays(self) -> tuple[dict[str, NDArray[np.float16]], dict[str, float]]:
        """Features and conversion errors, when they have arrived."""
        self.wait()
        features = {level: maps.numpy() for level, maps in self.features.items()}
        return features, {level: float(error) for level, error in self.errors.items()}


class LevelComputer:
    """A backbone on its device, in channels_last and the given precision."""

    def __init__(
        self,
        backbone: Backbone,
        recipe: FeatureRecipe,
        *,
        device: torch.device,
        precision: str,
        engine: str,
        batch_size: int,
    ) -> None:
        backbone.module.to(device).to(memory_format=torch.channels_last)
        self._extractor = LevelExtractor(
            backbone, recipe, make_engine(engine, backbone, recipe, precision)
        )
        self._device = device
        self._dtype = DTYPES[precision]
        self._batch_size = batch_size
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def reads_inputs(self) -> bool:
        """Whether its recipe takes the level `input` from the images themselves."""
        return self._extractor.features.input_antialiased

    @property
    def on_gpu(self) -> bool:
        """Whether images travel to a device of its own memory."""
        return self._copies is not None

    def __call__(self, images: Tensor, inputs: Tensor | None = None) -> HostLevels:
        """Levels of images (B, S, S, 3) uint8.

        `inputs`: the images themselves at 28x28, (B, 28, 28, 3) uint8, where `reads_inputs`.
        Out of memory, the images are computed in halves, quarters, ... and so are all later ones.
        Raises `UserError` when a single image does not fit.
        """
        while True:
            try:
                size = self._batch_size
                parts = [
                    self._compute(part, None if inputs is None else inputs[i * size :][:size])
                    for i, part in enumerate(images.split(size))
                ]
                break
            except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
            self._shrink()
        return self._to_host(*(parts[0] if len(parts) == 1 else _join(parts)))

    @torch.inference_mode()
    def _compute(self, images: Tensor, inputs: Tensor | None) -> _Levels:
        enabled = self._dtype != torch.float32
        with (
            torch.autocast(self._device.type, self._dtype, enabled=enabled),
            same_kernels(self._device),
        ):
            shown = None if inputs is None else self._in_unit_range(inputs)
            levels = self._extractor(self._in_unit_range(images), shown)
        features, errors = {}, {}
        for level in list(levels):
            exact = levels.pop(level)
            features[level] = exact.to(torch.float16, memory_format=torch.contiguous_format)
            lowest, highest = exact.sub_(features[level]).aminmax()
            errors[level] = torch.maximum(-lowest, highest)
        return features, errors

    def _in_unit_range(self, pixels: Tensor) -> Tensor:
        # Rows of RGB pixels, permuted, are channels_last already: no copy but the conversion.
        return pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)

    def _shrink(self) -> None:
        if self._batch_size == 1:
            raise UserError(
                "out of memory with a single image: use a smaller --image-size, another --device, "
                "or free memory"
            )
        self._batch_size //= 2
        say(f"out of memory: going on with --batch-size {self._batch_size}")
        if self._copies is not None:
            torch.cuda.empty_cache()

    def _to_host(self, features: dict[str, Tensor], errors: dict[str, Tensor]) -> HostLevels:
        if self._copies is None:
            return HostLevels(features, errors, wait=lambda: None)
        # On a stream of its own: the next batch computes while this one travels.
        self._copies.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._copies):
            features = {level: self._pinned_copy(maps) for level, maps in features.items()}
            errors = {level: self._pinned_copy(error) for level, error in errors.items()}
            arrived = torch.cuda.Event()
            arrived.record(self._copies)
        return HostLevels(features, errors, wait=arrived.synchronize)

    def _pinned_copy(self, tensor: Tensor) -> Tensor:
        assert self._copies is not None
        tensor.record_stream(self._copies)  # its memory is not reused before the copy is done
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
            tensor, non_blocking=True
        )


def _join(parts: list[_Levels]) -> _Levels:
    """One batch from its parts."""
    features = {level: torch.cat([part[0][level] for part in parts]) for level in parts[0][0]}
    errors = {level: torch.stack([part[1][level] for part in parts]).max() for level in features}
    return features, errors


def _is_out_of_memory(error: BaseException) -> bool:
    # Every torch has this name for it; torch.OutOfMemoryError is the same from 2.5.
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "could not create a memory" in str(error)
