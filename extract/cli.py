"""The command extract-features."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from data.tools.command import exit_codes, stage_command
from data.tools.errors import UserError
from extract.config import ExtractConfig

_RESUME = "run the same command again, finished shards are kept"


def _run(config: ExtractConfig) -> None:
    from extract.run import extract_features

    print(extract_features(config))


def _list_backbones(_: bool) -> None:
    from extract.backbones.table import backbone_listing

    print(backbone_listing())


def _list_weights(_: bool) -> None:
    from extract.backbones.packaged import weights_listing

    print(weights_listing())


def _show_info(folder: Path) -> None:
    from data.cache.reader import FeatureCache

    cache = FeatureCache(folder)
    info = {
        **cache.identity.to_json(),
        "bad_images": [f"{bad.images} {bad.name}: {bad.reason}" for bad in cache.bad],
        "gigabytes": round(cache.size / 1e9, 3),
        "audit": cache.audit,
    }
    print(json.dumps(info, indent=2))


def _verify(folder: Path) -> None:
    from data.cache.verify import find_damage, set_aside

    damage = find_damage(folder)
    for item in damage:
        print(f"{folder / item.file}: {item.reason}")
    if not damage:
        print(f"{folder} is whole")
        return
    set_aside(folder, damage)
    raise UserError(
        f"{len(damage)} files of {folder} are damaged and were set aside: run the extraction "
        "that made it again, it makes only what is missing"
    )


def _instead(name: str, action: Callable[[Any], None], help: str, **options: Any) -> click.Option:
    """An option that does something else instead of an extraction, and needs no other option."""

    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if not value or context.resilient_parsing:
            return
        with exit_codes(debug="--debug" in sys.argv, resume=_RESUME):
            action(value)
        context.exit()

    return click.Option(
        [name], is_eager=True, expose_value=False, callback=callback, help=help, **options
    )


main = stage_command(
    ExtractConfig,
    _run,
    help="Run a frozen backbone once over every image and keep its levels in a feature cache.",
    resume=_RESUME,
)
_FOLDER = {"type": click.Path(path_type=Path), "metavar": "CACHE"}
main.params += [
    _instead("--list-backbones", _list_backbones, "List the backbones and exit.", is_flag=True),
    _instead("--list-weights", _list_weights, "List the weights and exit.", is_flag=True),
    _instead("--info", _show_info, "Say what a cache was made from, and exit.", **_FOLDER),
    _instead("--verify", _verify, "Prove a cache whole or name what is damaged.", **_FOLDER),
]
