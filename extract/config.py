"""Everything the extraction stage can be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from data.protocols import FEATURE_PROTOCOLS, FeatureRecipe, find_protocol
from data.tools.device import check_device
from data.tools.errors import UserError
from data.tools.parallel import BACKENDS, check_cluster, check_scheduler
from data.tools.settings import MAX_SEED, check_settings, command_line, setting, spelled
from data.vocabulary import COMPRESSIONS, ENGINES, IMAGE_SIZE, PADDINGS, TORCH
from extract.backbones.normalization import parse_normalization

MATCHES = ("names", "order")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
# Of one call: what says where a cache lies and who works on it, and moves no byte of it.
_OF_ONE_CALL = (
    *("cache_dir", "overwrite", "num_shards", "shard_index"),
    *("num_workers", "jobs", "backend", "scheduler"),
)


@dataclass(frozen=True)
class ExtractConfig:
    """Settings of `extract_features`; each field is an option of `extract-features`."""

    backbone: str = setting(
        "The frozen network; --list-backbones lists them (repeatable: a cache for each).",
        grid=True,
    )
    weights: str = setting(
        "imagenet, random, weights of a package (--list-weights), a checkpoint file, or own: what "
        "a factory of yours returns.",
        "imagenet",
    )
    weights_key: str | None = setting(
        "Which part of the checkpoint file, where several fit (teacher, state_dict.encoder_q).",
        None,
    )
    match: str = setting(
        "How the file's tensors find their places: by name, or on demand by their order.",
        "names",
        choices=MATCHES,
    )
    weights_name: str | None = setting(
        "What to call the weights of a file, in tables and folders, instead of the file's stem.",
        None,
    )
    padding: str = setting(
        "What the backbone's convolutions see beyond the border (repeatable: a cache for each "
        "backbone and padding).",
        "zeros",
        choices=PADDINGS,
        grid=True,
    )
    train: Path | None = setting(
        "Folder of images to train heads on; without it, embedded samples.", None
    )
    test: Path | None = setting("Folder of images to score on; without it, embedded samples.", None)
    cache_dir: Path = setting("Folder of the feature caches.", Path("features"))
    protocol: str = setting(
        "Recipe: normalisation, taps and alignment.", "paper", choices=FEATURE_PROTOCOLS
    )
    normalization: str | None = setting(
        "Normalisation of the images, instead of the protocol's: none, imagenet, half, caffe, "
        "caffe-none, caffe:B,G,R or MEAN/STD.",
        None,
    )
    taps: str | None = setting(
        "Comma-separated names of the modules to tap as f1, f2, ..., instead of the protocol's.",
        None,
        check=lambda text: _split_taps(text),
    )
    crop_border: int = setting(
        "Cells to drop at every side of every tapped map, in its own resolution, before it is "
        "aligned.",
        0,
        at_least=0,
    )
    score_transposed: bool = setting(
        "Transpose the images that heads are scored on, not those they are trained on, as the "
        "notebooks of the reproduction report do (table R2).",
        False,
    )
    image_size: int = setting(
        "Pixels a side of the images the backbone sees.", IMAGE_SIZE, at_least=1
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)
    precision: str = setting(
        "Format the backbone computes in; auto is bf16 or fp16 where the device is fast at it.",
        "auto",
        choices=PRECISIONS,
    )
    engine: str = setting(
        "What runs the backbone; openvino is a package of its own, for a CPU.",
        TORCH,
        choices=ENGINES,
    )
    batch_size: int | None = setting(
        "Images per forward pass (default 16 on a CPU, 64 on a GPU); halved when out of memory.",
        None,
        at_least=1,
    )
    num_workers: int | None = setting(
        "Threads that decode images (default half of the cores, at most 16).", None, at_least=1
    )
    seed: int = setting("Of random weights.", 0, at_least=0, at_most=MAX_SEED)
    limit: int | None = setting(
        "At most this many training and this many test images.", None, at_least=1
    )
    strict: bool = setting("Refuse when an image cannot be decoded, instead of listing it.", False)
    compression: str = setting(
        "Compress the cache; bitshuffle-lz4 needs hdf5plugin.", "none", choices=COMPRESSIONS
    )
    num_shards: int = setting("Split the extraction over this many jobs ...", 1, at_least=1)
    shard_index: int = setting("... of which this is number 0, 1, ...", 0, at_least=0)
    jobs: int = setting(
        "Processes on this machine (loky) or tasks at a time (dask).", 1, at_least=1
    )
    backend: str = setting("joblib backend of --jobs.", "loky", choices=BACKENDS)
    scheduler: str | None = setting(
        "Address of the Dask scheduler, tcp://HOST:PORT.", None, check=check_scheduler
    )
    overwrite: bool = setting("Delete a cache made from something else and begin again.", False)

    GROUPS: ClassVar = {  # titles in the help of the command
        "The network": (
            *("backbone", "weights", "weights_key", "match", "weights_name", "padding", "seed"),
        ),
        "The images": ("train", "test", "limit", "strict", "image_size"),
        "The features": ("protocol", "normalization", "taps", "crop_border", "score_transposed"),
        "The cache": ("cache_dir", "compression", "overwrite"),
        "The machine": (
            *("device", "precision", "engine", "batch_size", "num_workers"),
            *("num_shards", "shard_index", "jobs", "backend", "scheduler"),
        ),
    }

    def __post_init__(self) -> None:
        check_settings(self)
        if self.normalization is not None:
            parse_normalization(self.normalization)  # refuses what it does not know
        check_cluster(self.backend, self.scheduler)
        if self.shard_index >= self.num_shards:
            raise UserError(
                f"{spelled('shard_index')} {self.shard_index} must be 0 to {self.num_shards - 1} "
                f"with {spelled('num_shards')} {self.num_shards}"
            )
        if self.overwrite and self.num_shards > 1:
            raise UserError(
                f"{spelled('overwrite')} with {spelled('num_shards')} would delete what the other "
                "jobs have done: delete the cache folder, then start all jobs without it"
            )

    @property
    def features(self) -> FeatureRecipe:
        """The protocol's recipe with the overrides of single options."""
        recipe = replace(
            find_protocol(self.protocol).features,
            crop_border=self.crop_border,
            score_transposed=self.score_transposed,
        )
        if self.normalization is not None:
            recipe = replace(recipe, normalization=self.normalization)
        return recipe

    @property
    def command(self) -> str:
        """The call that makes the same cache from any folder: what it reads by its whole path.

        Without where the cache lies and how many work on it, so that the bytes of equal caches are
        equal.
        """
        weights = Path(self.weights).expanduser()
        whole = replace(
            self,
            train=self.train and self.train.absolute(),
            test=self.test and self.test.absolute(),
            weights=str(weights.absolute()) if weights.is_file() else self.weights,
            overwrite=False,
        )
        return command_line("extract-features", whole, leave_out=_OF_ONE_CALL)

    @property
    def tap_names(self) -> str | tuple[str, ...]:
        """The protocol's table of taps, or the nodes asked for."""
        return self.features.taps if self.taps is None else _split_taps(self.taps)


def _split_taps(text: str) -> tuple[str, ...]:
    """The names in `text`; `ValueError` when one is empty or there twice."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise ValueError("give names of modules, each once, with commas between them")
    return names
