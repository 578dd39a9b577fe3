"""Images and their masks: generated, in folders, or PASCAL VOC 2012."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from data.tools.errors import UserError
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.pairs.files import checked_pairs
from extract.tasks.maps.pairs.layouts import folder_pairs, voc_pairs, voc_root
from extract.tasks.maps.pairs.scenes import CLASSES, Scene, scene

GENERATED_TRAIN, GENERATED_TEST = 512, 128


class PairSet(Protocol):
    """Images with masks, in order. Can be pickled for worker processes."""

    @property
    def name(self) -> str:
        """What the results call the set."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of a segmentation's classes; () for saliency."""

    @property
    def sha256(self) -> str:
        """Of everything the pairs are made from."""

    def __len__(self) -> int: ...

    def load(self, index: int, size: int) -> Scene:
        """An image (size, size, 3) uint8 RGB and its mask (size, size) uint8."""


@dataclass(frozen=True)
class GeneratedPairs:
    """Scenes `first`, `first + 1`, ... of the generated set of a task."""

    task: str
    seed: int
    first: int
    count: int
    name: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; () for saliency."""
        return CLASSES if self.task == "segmentation" else ()

    @property
    def sha256(self) -> str:
        """Of the first scene: the recipe and the seed."""
        image, mask = self.load(0, 64)
        return hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()

    def __len__(self) -> int:
        return self.count

    def load(self, index: int, size: int) -> Scene:
        """Scene `index`, image and mask."""
        return scene(self.task, self.first + index, self.seed, size)


def training_pairs(config: MapConfig) -> PairSet:
    """The training set the options ask for.

    Raises `UserError` where there is none, naming the pairs that cannot be used.
    """
    if config.data is None:
        count = min(config.limit or GENERATED_TRAIN, GENERATED_TRAIN)
        return GeneratedPairs(config.task, config.seed, 0, count, "generated-train")
    return _stored_pairs(config.data, "train", config)


def test_pairs(config: MapConfig) -> list[PairSet]:
    """The sets to score on: the training set's own, and those of `--test`.

    Raises `UserError` as `training_pairs`, and where two of them would have one name.
    """
    sets: list[PairSet] = []
    if config.data is None:
        count = min(config.limit or GENERATED_TEST, GENERATED_TEST)
        name = "generated-test"
        sets.append(GeneratedPairs(config.task, config.seed, GENERATED_TRAIN, count, name))
    elif voc_root(config.data):
        sets.append(_stored_pairs(config.data, "val", config))
    sets += [_stored_pairs(folder, "val", config) for folder in config.test]
    for name, count in Counter(test.name for test in sets).items():
        if count > 1:
            raise UserError(
                f"{count} test sets are called {name!r}, and so would be their scores: give one, "
                "or rename a folder"
            )
    return sets


def _stored_pairs(folder: Path, image_set: str, config: MapConfig) -> PairSet:
    """The pairs of a folder; `image_set` is "train" or "val", where it has both."""
    root = voc_root(folder)
    if root is not None:
        classes = _voc_classes(root, config)
        name, pairs = f"voc2012-{image_set}", voc_pairs(root, image_set)
    else:
        classes = _own_classes(folder, config)
        name, pairs = folder_pairs(folder)
    return checked_pairs(name, classes, pairs[: config.limit])


def _voc_classes(root: Path, config: MapConfig) -> tuple[str, ...]:
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    if config.task != "segmentation":
        raise UserError(f"{root}: VOC 2012 has no saliency masks; use --task segmentation")
    names = tuple(FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"])
    if config.classes not in (None, len(names)):
        raise UserError(
            f"--classes {config.classes}: VOC 2012 has {len(names)}, the background included; "
            "leave --classes out"
        )
    return names


def _own_classes(folder: Path, config: MapConfig) -> tuple[str, ...]:
    if config.task != "segmentation":
        return ()
    if config.classes is None:
        raise UserError(f"{folder}: how many classes do its masks have? Give --classes")
    return tuple(map(str, range(config.classes)))
