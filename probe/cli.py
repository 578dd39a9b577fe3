"""`train-probes`: parse, call, print."""

from __future__ import annotations

from data.command import stage_command
from probe.config import ProbeConfig


def _run(config: ProbeConfig) -> None:
    from probe.train import train_probes

    print(train_probes(config))


main = stage_command(
    ProbeConfig,
    _run,
    help="Train many readout heads from every feature cache in one pass over it, and score them.",
    resume="run the same command again to go on from the last finished epoch",
)
