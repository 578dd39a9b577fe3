"""The command extract-features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from data.tools.command.stages import Stage, instead, stage_command
from data.tools.errors import UserError
from data.tools.terminal import show
from extract.placed.config import PlacedConfig

_RESUME = "run the command again without --overwrite, finished shards are kept"


def _run(config: PlacedConfig) -> None:
    if config.placed is None:
        from extract.run import extract_features

        show(str(extract_features(config)))
        return
    from extract.placed.run import extract_placed

    show("\n".join(map(str, extract_placed(config))))


def _plan(config: PlacedConfig) -> str:
    if config.placed is None:
        from extract.shards.plan import plan_extraction

        return plan_extraction(config)
    from extract.placed.plan import plan_placed

    return plan_placed(config)


def _check(config: PlacedConfig) -> None:
    from extract.shards.prepare import check_backbone

    for image_size in config.image_sizes:
        check_backbone(replace(config, image_size=image_size))


def _list_backbones(_: bool) -> None:
    from extract.backbones.table import backbone_listing

    show(backbone_listing())


def _list_weights(_: bool) -> None:
    from extract.backbones.packaged import weights_listing

    show(weights_listing())


def _list_caches(folder: Path) -> None:
    from data.cache.listing import cache_listing

    show(cache_listing(folder.expanduser()))


def _remove(folder: Path) -> None:
    from data.cache.listing import remove_cache

    show(remove_cache(folder.expanduser()))


def _show_info(folder: Path) -> None:
    from data.cache.files.members import MANIFEST
    from data.cache.pooled.reader import PooledCache, is_pooled
    from data.cache.reader import FeatureCache

    folder = folder.expanduser()
    if not (folder / MANIFEST).exists() and any(folder.glob(f"*/{MANIFEST}")):
        _list_caches(folder)
        return
    if is_pooled(folder):
        show(json.dumps(PooledCache(folder).identity.to_json(), indent=2))
        return
    cache = FeatureCache(folder)
    info = {
        **cache.identity.to_json(),
        "bad_images": [f"{bad.images} {bad.name}: {bad.reason}" for bad in cache.bad],
        "gigabytes": round(cache.size / 1e9, 3),
        "audit": cache.audit,
    }
    show(json.dumps(info, indent=2))


def _verify(folder: Path) -> None:
    from data.cache.pooled.reader import PooledCache, is_pooled
    from data.cache.verify import find_damage, set_aside

    folder = folder.expanduser()
    if is_pooled(folder):
        wrong = PooledCache(folder).damage()
        if wrong:
            raise UserError(f"{folder} is damaged: {'; '.join(wrong)}")
        show(f"{folder} is whole")
        return
    damage = find_damage(folder)
    if not damage:
        show(f"{folder} is whole")
        return
    set_aside(folder, damage)
    show("\n".join(f"{folder / item.file}: {item.reason}" for item in damage))
    raise UserError(
        f"{len(damage)} files of {folder} are damaged and were set aside: run the extraction "
        "that made it again, it makes only what is missing"
    )


main = stage_command(
    "extract-features",
    Stage(PlacedConfig, _run, _plan, _check),
    help="Run a frozen backbone once over every image and keep its levels in a feature cache.",
    resume=_RESUME,
)
_FOLDER = {"type": click.Path(path_type=Path), "metavar": "CACHE"}
main.params += [
    instead("--list-backbones", _list_backbones, "List the backbones and exit.", is_flag=True),
    instead("--list-weights", _list_weights, "List the weights and exit.", is_flag=True),
    instead(
        "--list",
        _list_caches,
        "List the caches of a folder (default features), their sizes and states, and exit.",
        is_flag=False,
        flag_value=Path("features"),
        type=click.Path(path_type=Path),
        metavar="[FOLDER]",
    ),
    instead("--remove", _remove, "Delete a cache that no process works on, and exit.", **_FOLDER),
    instead(
        "--info", _show_info, "Say what a cache (or each of a folder) is, and exit.", **_FOLDER
    ),
    instead("--verify", _verify, "Prove a cache whole or name what is damaged.", **_FOLDER),
]
