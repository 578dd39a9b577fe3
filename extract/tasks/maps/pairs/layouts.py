"""Folders of images and masks, laid out as the data sets are published."""

from __future__ import annotations

from pathlib import Path

from data.images.files.formats import SUFFIXES
from data.tools.errors import UserError
from data.tools.printable import printable
from data.tools.terminal import say
from extract.tasks.maps.pairs.files import refuse, shown

Pairs = list[tuple[Path, Path]]  # image and mask

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

VOC_LISTS = "ImageSets/Segmentation"
VOC_IMAGES, VOC_MASKS = "JPEGImages", "SegmentationClass"
_VOC_BELOW = ("", "VOC2012", "VOCdevkit/VOC2012")  # the folder given
_VOC_PARTS = {VOC_IMAGES, VOC_MASKS, "ImageSets", "Segmentation", "SegmentationObject"}


def folder_pairs(folder: Path) -> tuple[str, Pairs]:
    """What the results call the set in `folder`, and its pairs, sorted by name.

    Masks without image, as DUTS publishes some, are left out and counted on stderr. Raises
    `UserError` for an unknown layout, and naming the images without mask.
    """
    if not folder.is_dir():
        raise UserError(f"data folder {str(folder)!r} does not exist: give images and masks")
    for name, images, masks in LAYOUTS:
        if (folder / images).is_dir() and (folder / masks).is_dir():
            return name or _own_name(folder), _matched(folder, folder / images, folder / masks)
    known = "; ".join(sorted({f"{images} + {masks}" for _, images, masks in LAYOUTS}))
    raise UserError(f"{folder} has no folders of images and masks: use one of {known}")


def _own_name(folder: Path) -> str:
    # It becomes a cell of a table and part of file names.
    return printable(folder.resolve().name.lower())


def _matched(folder: Path, images: Path, masks: Path) -> Pairs:
    """Image and mask files of the same stem, sorted."""
    pictures, drawings = _files(images), _files(masks)
    if images == masks:  # MSRA10K: NAME.jpg beside NAME.png
        drawings = [path for path in drawings if path.suffix.lower() == ".png"]
        pictures = [path for path in pictures if path not in drawings]
    found, partners = _by_stem(images, pictures, ".jpg"), _by_stem(masks, drawings, ".png")
    refuse(folder, [f"{found[s].name}: no mask" for s in sorted(found.keys() - partners.keys())])
    if not found:
        raise UserError(f"no images in {images}: give another folder")
    lonely = sorted(partners.keys() - found.keys())
    _report(masks, "masks without image", [partners[stem] for stem in lonely])
    return [(found[stem], partners[stem]) for stem in sorted(found)]


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."]


def _by_stem(folder: Path, files: list[Path], preferred: str) -> dict[str, Path]:
    """Stem -> file. Of twins, as DUTS has beside its masks, the one that ends with `preferred`."""
    files = sorted(files, key=lambda path: (path.suffix.lower() == preferred, path.name))
    by_stem = {path.stem: path for path in files}
    twins = sorted(set(files) - set(by_stem.values()))
    _report(folder, f"files that share their name with another, mostly a {preferred}", twins)
    return by_stem


def _report(folder: Path, what: str, files: list[Path]) -> None:
    if files:
        names = shown([path.name for path in files])
        say(f"{folder}: {len(files)} {what}, left out ({names})")


def voc_root(folder: Path) -> Path | None:
    """The folder VOC2012 that `folder` is, holds or is a part of; None for other folders."""
    places = [folder / below for below in _VOC_BELOW]
    if folder.resolve().name in _VOC_PARTS:
        places += folder.resolve().parents[:2]
    return next((place for place in places if (place / VOC_LISTS).is_dir()), None)


def voc_pairs(root: Path, image_set: str) -> Pairs:
    """The pairs of a list of VOC, "train" or "val", in its order; `UserError` without it."""
    path = root / VOC_LISTS / f"{image_set}.txt"
    try:
        names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}): unpack VOC 2012 again") from error
    pairs = [(root / VOC_IMAGES / f"{n}.jpg", root / VOC_MASKS / f"{n}.png") for n in names]
    missing = [file.name for pair in pairs for file in pair if not file.is_file()]
    refuse(path, [f"{name}: no such file" for name in missing])
    if not pairs:
        raise UserError(f"{path} lists no images: unpack VOC 2012 again")
    return pairs
