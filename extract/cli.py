"""The command extract-features."""

from __future__ import annotations

from data.command import stage_command
from extract.config import ExtractConfig


def _run(config: ExtractConfig) -> None:
    from extract.run import extract_features

    print(extract_features(config))


main = stage_command(
    ExtractConfig,
    _run,
    help="Run a frozen backbone once over every image and keep its levels in a feature cache.",
    resume="run the same command again, finished shards are kept",
)
