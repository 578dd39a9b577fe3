"""Taps: catch the outputs of named modules in one forward pass, and read them as maps."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from data.tools.errors import UserError
from data.vocabulary import TAPPED_LEVELS
from extract.backbones.depths import Depths, LayersRun

MAX_TAPS = len(TAPPED_LEVELS)


class _AllTaken(Exception):  # noqa: N818  (not an error: it ends a pass early)
    pass


@contextlib.contextmanager
def _hooks(
    module: nn.Module, nodes: Sequence[str], take: Callable[[str, object], None]
) -> Iterator[None]:
    def hook_of(node: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            take(node, output)

        return hook

    handles = [module.get_submodule(n).register_forward_hook(hook_of(n)) for n in nodes]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_taps(
    module: nn.Module,
    nodes: Sequence[str],
    images: Tensor,
    take: Callable[[str, Tensor], None],
) -> None:
    """One forward pass of `images`, (B, 3, S, S), that ends as soon as every node has run.

    `take(node, output)` is called inside the hook, before any later module runs: it must copy
    what it keeps, because the next module may be an in-place ReLU.
    """
    waiting = set(nodes)

    def take_once(node: str, output: object) -> None:
        assert isinstance(output, Tensor)  # check_taps has seen to that
        take(node, output)
        waiting.discard(node)
        if not waiting:
            raise _AllTaken

    with _hooks(module, nodes, take_once), contextlib.suppress(_AllTaken):
        module(images)
    assert not waiting, waiting


def as_map(output: Tensor, *, channels_last: bool = False) -> Tensor:
    """The output of a tap as a map, (B, C, h, w); a view where possible.

    - (B, C, h, w): as it is.
    - (B, h, w, C), as in Swin: permuted. Images are square, so the two equal axes are the map's;
      `channels_last` decides where all three are equal.
    - (B, n, C), the tokens of a transformer: the last h * h tokens, h = floor(sqrt(n)), in rows;
      class and register tokens come first and are dropped.
    """
    if output.ndim == 3:
        side = math.isqrt(output.shape[1])
        grid = output[:, -side * side :].transpose(1, 2)
        return grid.unflatten(2, (side, side))
    if output.ndim != 4:
        raise ValueError(f"shape {tuple(output.shape)} is no map and no sequence of tokens")
    first, second, third = output.shape[1:]
    if first == second and (second != third or channels_last):
        return output.permute(0, 3, 1, 2)
    return output


def zero_image(module: nn.Module, size: int) -> Tensor:
    """A black image, (1, 3, size, size), of the module's dtype and on its device."""
    parameter = next(module.parameters())
    return torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device)


@torch.no_grad()
def check_taps(module: nn.Module, nodes: Sequence[str], *, name: str, image_size: int) -> Depths:
    """Refuse taps that are unknown, never run, run more than once, or no maps (`UserError`).

    One forward pass of a black image of `image_size`, which also tells how deep the taps lie.
    """
    _check_names(module, nodes, name)
    outputs: dict[str, list[object]] = {node: [] for node in nodes}
    depths: dict[str, int] = {}
    failure: Exception | None = None

    def take(node: str, output: object) -> None:
        outputs[node].append(output)
        depths[node] = layers.count

    with LayersRun(module) as layers, _hooks(module, nodes, take):
        try:
            module(zero_image(module, image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            failure = error
    if failure is not None and not all(outputs.values()):
        # A failure beyond the last tap does not matter: that part is never run.
        raise UserError(
            f"{name} does not run on {image_size}x{image_size} images ({failure}): "
            "use another image size or padding"
        ) from failure
    for node, found in outputs.items():
        _check_output(node, found, name)
    return Depths(depths, layers.count if failure is None else None)


def _check_names(module: nn.Module, nodes: Sequence[str], name: str) -> None:
    if not 1 <= len(nodes) <= MAX_TAPS or len(set(nodes)) < len(nodes):
        raise UserError(f"taps {','.join(nodes)!r}: give one to {MAX_TAPS} different nodes")
    known = [node for node, _ in module.named_modules() if node]
    for node in nodes:
        if node not in known:
            close = difflib.get_close_matches(node, known, n=5, cutoff=0.4) or known[:5]
            raise UserError(f"{name} has no node {node!r}: close names are {', '.join(close)}")


def _check_output(node: str, found: list[object], name: str) -> None:
    if len(found) != 1:
        often = "never runs" if not found else f"runs {len(found)} times"
        raise UserError(f"tap {node!r} of {name} {often} in a pass: tap a node that runs once")
    output = found[0]
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise UserError(f"tap {node!r} of {name} returns a {kind}: tap a node that returns a map")
    shape = tuple(output.shape)
    if output.ndim not in (3, 4) or shape[0] != 1:
        raise UserError(
            f"tap {node!r} of {name} returns shape {shape} for one image: "
            "tap a node that returns a map (1, C, h, w) or tokens (1, n, C)"
        )
