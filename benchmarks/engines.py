"""The forward pass to the last tap in other engines than torch's own, on the same images.

    python -m benchmarks.engines [--backbone vgg16] [--batch-size 8] [--threads 1]

Each engine gives the levels as the backbone has them, before alignment. Printed: processor and
wall time an image, the least of a few repetitions in turn, and the largest difference to torch's
float32 over the largest value of its level. OpenVINO and ONNX Runtime are tried where they are
installed (`pip install openvino onnxruntime onnx onnxscript`).
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import machine
from data.images.samples import sample_image
from data.vocabulary import IMAGE_SIZE
from extract.backbones.backbone import load_backbone
from extract.backbones.taps import run_taps

Forward = Callable[[], list[Tensor]]
REPEATS = 5


class Taps(nn.Module):
    """A backbone as a function from images (B, 3, S, S) to its levels, unaligned."""

    def __init__(self, module: nn.Module, nodes: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.nodes = module, nodes
        for layer in self.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # it would change the level before it is returned

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The levels of images (B, 3, S, S), in order."""
        found: dict[str, Tensor] = {}
        run_taps(self.module, self.nodes, images, found.__setitem__)
        return tuple(found[node] for node in self.nodes)


def torch_engines(network: Taps, images: Tensor) -> Iterator[tuple[str, Forward]]:
    network = copy.deepcopy(network).to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)

    def autocast() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return list(network(images))

    yield "torch fp32", lambda: list(network(images))
    yield "torch bf16, autocast (ours)", autocast
    narrow, fewer = copy.deepcopy(network).bfloat16(), images.bfloat16()
    yield "torch bf16, weights too", lambda: list(narrow(fewer))


def compiled(network: Taps, images: Tensor) -> Iterator[tuple[str, Forward]]:
    """`torch.compile` of the layers in a row: hooks would end its graph at every tap."""
    from torch._inductor import config

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(_parts(network))

        def forward(self, maps: Tensor) -> list[Tensor]:
            levels = []
            for part in self.parts:
                maps = part(maps)
                levels.append(maps)
            return levels

    rows = Rows().bfloat16().to(memory_format=torch.channels_last)
    fewer = images.bfloat16().contiguous(memory_format=torch.channels_last)
    for freezing in (False, True):
        config.freezing = freezing
        torch._dynamo.reset()
        engine = torch.compile(rows)
        with torch.no_grad():
            engine(fewer)
            yield f"torch.compile bf16, freezing={freezing}", lambda: engine(fewer)  # noqa: B023


def _parts(network: Taps) -> list[nn.Sequential]:
    """VGG's `features`, cut behind every tap."""
    layers = list(network.module.get_submodule("features").children())
    ends = [int(node.removeprefix("features.")) + 1 for node in network.nodes]
    return [nn.Sequential(*layers[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def openvino(network: Taps, images: Tensor) -> Iterator[tuple[str, Forward]]:
    import openvino as ov

    model = ov.convert_model(network, example_input=images)
    for precision in ("f32", "bf16"):
        engine = ov.Core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )
        yield (
            f"OpenVINO {ov.__version__.split('-')[0]} {precision}",
            lambda: [torch.from_numpy(v) for v in engine(images.numpy()).values()],  # noqa: B023
        )


def onnx_runtime(network: Taps, images: Tensor) -> Iterator[tuple[str, Forward]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network, (images,), path, dynamo=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: images.numpy()}
    yield (
        f"ONNX Runtime {onnxruntime.__version__} fp32",
        lambda: [torch.from_numpy(level) for level in session.run(None, inputs)],
    )


def measure(engine: Forward) -> tuple[list[Tensor], float, float]:
    """What it gives, and the least processor and wall time of a call, in seconds."""
    levels, times = engine(), []
    for _ in range(REPEATS):
        start = time.process_time(), time.perf_counter()
        engine()
        times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return levels, min(cpu for cpu, _ in times), min(wall for _, wall in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")  # of the exporters, about themselves
    count = arguments.batch_size
    pixels = np.stack([sample_image(index, 0, IMAGE_SIZE) for index in range(count)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()
    backbone = load_backbone(
        arguments.backbone, weights="random", padding="zeros", taps="paper", seed=0
    )
    network = Taps(backbone.module, tuple(backbone.taps.values())).eval()
    print(machine())
    with torch.inference_mode():
        exact = network(images)
    engines = [torch_engines, openvino, onnx_runtime]
    if arguments.backbone.startswith("vgg"):
        engines.append(compiled)
    for family in engines:
        try:
            with torch.inference_mode(family is not compiled):
                for name, engine in family(network, images):
                    levels, cpu, wall = measure(engine)
                    worst = max(
                        float((found.float() - true).abs().max() / true.abs().max())
                        for found, true in zip(levels, exact, strict=True)
                    )
                    print(
                        f"{name:36} {cpu / count * 1e3:6.1f} ms of processor, "
                        f"{wall / count * 1e3:6.1f} ms an image, off by {worst:.4f}"
                    )
        except ImportError as error:
            print(f"{family.__name__}: not installed ({error.name})")


if __name__ == "__main__":
    main()
