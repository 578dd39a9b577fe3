"""Images and their masks: generated, in folders, or PASCAL VOC 2012."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from joblib import Parallel, delayed

from data.images.decoding import SUFFIXES, decode_image, read_image_file
from data.tools.errors import UserError
from data.tools.progress import progress
from extract.tasks.config import TaskConfig
from extract.tasks.masks import check_pair, read_mask
from extract.tasks.scenes import CLASSES, Scene, scene

GENERATED_TRAIN, GENERATED_TEST = 512, 128
SHOWN = 5  # bad pairs named in a message, of possibly hundreds

# Where images and masks lie below the folder of a data set as published; the first that exists.
LAYOUTS: tuple[tuple[str, str, str], ...] = (
    ("msra", "MSRA10K_Imgs_GT/Imgs", "MSRA10K_Imgs_GT/Imgs"),
    ("msra", "Imgs", "Imgs"),
    ("dut-s-train", "DUTS-TR-Image", "DUTS-TR-Mask"),
    ("dut-s", "DUTS-TE-Image", "DUTS-TE-Mask"),
    ("ecssd", "images", "ground_truth_mask"),
    ("dut-omron", "DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    ("pascal-s", "datasets/imgs/pascal", "datasets/masks/pascal"),
    ("", "images", "masks"),  # your own: called by the folder's name
)
VOC_FOLDER = "VOCdevkit/VOC2012"


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


@dataclass(frozen=True)
class FilePairs:
    """Image files and mask files of the same order."""

    name: str
    classes: tuple[str, ...]
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int, size: int) -> Scene:
        """Pair `index`, resized: the image with antialiasing, the mask by nearest neighbour."""
        image = decode_image(read_image_file(self.images[index]), size)
        return image, read_mask(self.masks[index], len(self.classes) or None, size)


def training_pairs(config: TaskConfig) -> PairSet:
    """The training set the options ask for.

    Raises `UserError` where there is none, naming the pairs that cannot be used.
    """
    if config.data is None:
        count = min(config.limit or GENERATED_TRAIN, GENERATED_TRAIN)
        return GeneratedPairs(config.task, config.seed, 0, count, "generated-train")
    if (config.data / VOC_FOLDER).is_dir():
        return _voc_pairs(config, "train")
    return _folder_pairs(config.data, config)


def test_pairs(config: TaskConfig) -> list[PairSet]:
    """The sets to score on: the training set's own, and those of `--test`."""
    sets: list[PairSet] = []
    if config.data is None:
        count = min(config.limit or GENERATED_TEST, GENERATED_TEST)
        name = "generated-test"
        sets.append(GeneratedPairs(config.task, config.seed, GENERATED_TRAIN, count, name))
    elif (config.data / VOC_FOLDER).is_dir():
        sets.append(_voc_pairs(config, "val"))
    return sets + [_folder_pairs(folder, config) for folder in config.test]


def _voc_pairs(config: TaskConfig, image_set: str) -> PairSet:
    if config.task != "segmentation":
        raise UserError(f"{config.data}: VOC 2012 has no saliency masks; use --task segmentation")
    from torchvision.datasets import VOCSegmentation
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    assert config.data is not None
    found = VOCSegmentation(str(config.data), year="2012", image_set=image_set)
    names = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    pairs = [(Path(i), Path(m)) for i, m in zip(found.images, found.masks, strict=True)]
    return _checked(f"voc2012-{image_set}", tuple(names), pairs[: config.limit])


def _folder_pairs(folder: Path, config: TaskConfig) -> PairSet:
    if not folder.is_dir():
        raise UserError(f"data folder {str(folder)!r} does not exist: give images and masks")
    classes: tuple[str, ...] = ()
    if config.task == "segmentation":
        if config.classes is None:
            raise UserError(f"{folder}: how many classes do its masks have? Give --classes")
        classes = tuple(map(str, range(config.classes)))
    name, images, masks = _layout(folder)
    return _checked(name, classes, _matched(folder, images, masks)[: config.limit])


def _layout(folder: Path) -> tuple[str, Path, Path]:
    for name, images, masks in LAYOUTS:
        if (folder / images).is_dir() and (folder / masks).is_dir():
            return name or folder.name.lower(), folder / images, folder / masks
    known = "; ".join(sorted({f"{images} + {masks}" for _, images, masks in LAYOUTS}))
    raise UserError(f"{folder} has no folders of images and masks: use one of {known}")


def _matched(folder: Path, images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Image and mask files of the same stem, sorted; `UserError` names those without partner."""
    found, partners = _by_stem(images), _by_stem(masks)
    if images == masks:  # MSRA10K: NAME.jpg beside NAME.png
        found = {s: p for s, p in found.items() if p.suffix.lower() != ".png"}
        partners = {p.stem: p for p in masks.iterdir() if p.suffix.lower() == ".png"}
    _refuse(folder, [f"{found[s].name}: no mask" for s in sorted(found.keys() - partners.keys())])
    lonely = sorted(partners.keys() - found.keys())
    _refuse(folder, [f"{partners[s].name}: no image" for s in lonely])
    if not found:
        raise UserError(f"no images in {images}: give another folder")
    return [(found[stem], partners[stem]) for stem in sorted(found)]


def _by_stem(folder: Path) -> dict[str, Path]:
    # Sorted, so that NAME.jpg wins over NAME.png wherever both are there.
    files = sorted(folder.iterdir(), reverse=True)
    return {p.stem: p for p in files if p.suffix.lower() in SUFFIXES and p.name[0] != "."}


def _checked(name: str, classes: tuple[str, ...], pairs: Sequence[tuple[Path, Path]]) -> FilePairs:
    """The pairs, once every file has been decoded and hashed."""

    def examine(image: Path, mask: Path) -> tuple[str | None, str]:
        reason = check_pair(image, mask, len(classes) or None)
        if reason:
            return reason, ""
        contents = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (image, mask))
        return None, " ".join((image.name, *contents))

    results = list(
        progress(
            _parallel(examine, pairs),
            total=len(pairs),
            description=f"checking {name}",
            unit="pairs",
        )
    )
    _refuse(name, [reason for reason, _ in results if reason])
    digest = hashlib.sha256("\n".join(line for _, line in results).encode()).hexdigest()
    images, masks = zip(*pairs, strict=True)
    return FilePairs(name, classes, images, masks, digest)


def _parallel(function, pairs) -> Iterator[tuple[str | None, str]]:  # type: ignore[no-untyped-def]
    # Threads: PIL lets go of the lock while it decodes.
    parallel = Parallel(n_jobs=-1, prefer="threads", return_as="generator")
    yield from parallel(delayed(function)(image, mask) for image, mask in pairs)


def _refuse(where: object, reasons: list[str]) -> None:
    if reasons:
        more = f" and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
        raise UserError(
            f"{where}: {len(reasons)} pairs cannot be used ({'; '.join(reasons[:SHOWN])}{more}): "
            "mend or remove them"
        )
