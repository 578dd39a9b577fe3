"""What the tests of the extraction stage share: small images, and fast settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from extract.config import ExtractConfig

# Layers of small images are too short to share between threads.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}

TRAIN, TEST = 130, 10  # with black, white and noise 150 images: two full shards and a short one


def make_photos(folder: Path, train: int = TRAIN, test: int = TEST) -> Path:
    """PNG files of random blocks in `folder`/train and `folder`/test."""
    generator = np.random.default_rng(0)
    for images, count in (("train", train), ("test", test)):
        (folder / images).mkdir(parents=True)
        for number in range(count):
            blocks = generator.integers(0, 256, (6, 6, 3), np.uint8)
            pixels = Image.fromarray(blocks).resize((48, 48), Image.Resampling.BICUBIC)
            pixels.save(folder / images / f"photo-{number:03d}.png")
    return folder


def small_config(photos: Path, cache_dir: Path, **changes: Any) -> ExtractConfig:
    """Two narrow layers of a SqueezeNet at 32 pixels: a second for all images, 12 MB."""
    settings: dict[str, Any] = {
        "backbone": "squeezenet1_1",
        "weights": "random",
        "taps": "features.3.squeeze,features.6.squeeze",
        "train": photos / "train",
        "test": photos / "test",
        "cache_dir": cache_dir,
        "image_size": 32,
        "precision": "fp32",
        "device": "cpu",
        "num_workers": 1,
    }
    return ExtractConfig(**{**settings, **changes})


def command_line(config: ExtractConfig) -> list[str]:
    """The command that does what `config` says."""
    arguments = [sys.executable, "-c", "from extract.cli import main; main()"]
    for name, value in vars(config).items():
        option = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(option)
        elif value is not None and value is not False:
            arguments += [option, str(value)]
    return arguments


def run_command(config: ExtractConfig) -> subprocess.CompletedProcess[str]:
    """Run extract-features in a process of its own."""
    return subprocess.run(
        command_line(config), capture_output=True, text=True, check=False, env=ONE_THREAD
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a cache, the lock aside."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
