"""`make-tables`: parse, call, print."""

from __future__ import annotations

from analysis.config import TablesConfig
from data.tools.command.stages import Stage, stage_command
from data.tools.terminal import show


def _run(config: TablesConfig) -> None:
    from analysis.make import make_tables

    show(str(make_tables(config)))


def _plan(config: TablesConfig) -> str:
    from analysis.make import plan_tables

    return plan_tables(config)


main = stage_command(
    "make-tables",
    Stage(TablesConfig, _run, _plan),
    help="Set the scores of train-probes beside the published ones: tables, figures, a report.",
    resume="run the same command again, it starts afresh and takes seconds",
)
