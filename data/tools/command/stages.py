"""The commands: each parses its options into a configuration, and calls its stage."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from data.tools.allocator import keep_freed
from data.tools.command.exits import exit_codes, in_one_line
from data.tools.command.options import (
    NearChoice,
    as_option,
    default_of,
    every_choice,
    field_names,
    options_of,
)
from data.tools.command.study import read_study
from data.tools.errors import UserError
from data.tools.settings import named_as_options
from data.tools.terminal import complain, quietly, secure_streams, show

USUAL = ""  # the stage of a `flag_command` that runs without a flag
OTHER = "Other options"  # title of the group of those that no stage puts into one
_WORDS, _SECTIONS = "words", "sections"  # of the context: the command line, and its study's
_OF_ALL = ("debug", "quiet", "dry_run")  # options of every command, and of no stage


@dataclass(frozen=True)
class Stage:
    """One thing that a command does."""

    config: type  # a dataclass; its fields are options
    run: Callable[[Any], None]  # does it, and prints what came of it
    plan: Callable[[Any], str]  # what it would do and what it would cost; writes nothing
    # Raises `UserError` for a configuration that cannot be had; called before any work where a
    # command is given several.
    check: Callable[[Any], object] = lambda config: None


@dataclass(frozen=True)
class _Call:
    """One configuration of a stage, and what tells it apart from others of the same command."""

    stage: Stage
    name: str
    config: Any


def stage_command(name: str, stage: Stage, *, help: str, resume: str) -> click.Command:
    """The click command of one stage. Exit codes: those of `exit_codes`, and 2 for click's own."""

    def chosen(values: dict[str, Any]) -> tuple[str, str]:
        return USUAL, "this command"

    return _command(name, {USUAL: stage}, chosen, [], help=help, resume=resume)


def choice_command(
    name: str, choose: str, stages: Mapping[str, Stage], *, help: str, resume: str
) -> click.Command:
    """The click command of several stages, told apart by the option `choose`.

    Every configuration has the field `choose`. The command has the options of all stages; one that
    the chosen stage does not have is a usage error.
    """

    def chosen(values: dict[str, Any]) -> tuple[str, str]:
        return values[choose], f"--{choose} {values[choose]}"

    return _command(name, stages, chosen, [], help=help, resume=resume)


def flag_command(
    name: str, stages: Mapping[str, Stage], flags: Mapping[str, str], *, help: str, resume: str
) -> click.Command:
    """The click command of several stages, each but that of `USUAL` asked for by a flag.

    `flags` has the help of every flag. An option that the chosen stage does not have, and two
    flags at once, are usage errors.
    """

    def chosen(values: dict[str, Any]) -> tuple[str, str]:
        asked = [flag for flag in flags if values.pop(flag)]
        if len(asked) > 1:
            raise click.UsageError(f"--{asked[0]} and --{asked[1]} at once: give one of them")
        if asked:
            return asked[0], f"--{asked[0]}"
        return USUAL, "the command without " + ", ".join(f"--{flag}" for flag in flags)

    added = [click.Option([f"--{flag}"], is_flag=True, help=text) for flag, text in flags.items()]
    return _command(name, stages, chosen, added, help=help, resume=resume)


def instead(name: str, action: Callable[[Any], None], help: str, **options: Any) -> click.Option:
    """An option that does something else than the stage's work, and needs no other option."""

    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if not value or context.resilient_parsing:
            return
        debug = "--debug" in sys.argv
        with named_as_options(), exit_codes(debug=debug, resume="run the same command again"):
            action(value)
        context.exit()

    return click.Option(
        [name], is_eager=True, expose_value=False, callback=callback, help=help, **options
    )


class _Command(click.Command):
    """A command that a closed or full stream does not stop, click's own messages included.

    Its help has the options in the groups that its stages name.
    """

    def __init__(self, name: str, groups: Mapping[str, str], **settings: Any) -> None:
        super().__init__(name, **settings)
        self.groups = groups  # option -> title

    def main(self, *args: Any, **kwargs: Any) -> Any:
        secure_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # click could not print its help, or why it refuses
            complain(f"error: {in_one_line(error)}")
            sys.exit(1)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = self.groups.get(str(parameter.name), OTHER)
                records.setdefault(title, []).append(record)
        for title in dict.fromkeys([*self.groups.values(), OTHER]):
            if title in records:
                with formatter.section(title):
                    formatter.write_dl(records[title])


def _command(
    name: str,
    stages: Mapping[str, Stage],
    chosen: Callable[[dict[str, Any]], tuple[str, str]],
    added: Sequence[click.Option],
    *,
    help: str,
    resume: str,
) -> click.Command:
    """The command of some stages; `chosen` says which one values ask for, and in which words."""

    def callback(debug: bool, quiet: bool, dry_run: bool, **_: Any) -> None:
        contexts = _contexts(click.get_current_context())
        with named_as_options(), quietly(quiet), exit_codes(debug=debug, resume=resume):
            _work([call for context in contexts for call in calls(context)], dry=dry_run)

    def calls(context: click.Context) -> Iterator[_Call]:
        values = {name: value for name, value in context.params.items() if name not in _OF_ALL}
        key, words = chosen(values)  # takes the flags out
        given, stage = _given(context, values), stages[key]
        _check_given(words, stage.config, given)
        for combination, config in _configurations(stage.config, given):
            yield _Call(stage, f"{context.obj or ''} {combination}".strip(), config)

    own = [*added, *_stage_options(stages)]
    return _Command(
        name,
        _titles(stages),
        params=[*own, *_common_options(own)],
        callback=callback,
        help=help,
        context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    )


def _common_options(own: Sequence[click.Option]) -> list[click.Option]:
    """The options that every command has besides its own."""

    def read(context: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is None or context.resilient_parsing or context.obj is not None:
            return
        with named_as_options(), exit_codes(debug="--debug" in sys.argv, resume="run it again"):
            sections = read_study(path.expanduser(), str(context.command.name), own)
        context.meta[_SECTIONS] = sections
        context.default_map = sections[0] if sections else {}

    study = click.Option(
        ["--study"],
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=read,
        help="Options from a study file (study.toml), where the command line does not give them.",
    )
    dry = click.Option(
        ["--dry-run"],
        is_flag=True,
        help="Say what would be done and what it would cost, and write nothing.",
    )
    quiet = click.Option(["--quiet"], is_flag=True, help="Say nothing but errors on stderr.")
    debug = click.Option(["--debug"], is_flag=True, help="Show tracebacks of errors.")
    version = instead("--version", _show_version, "Say the version, and exit.", is_flag=True)
    return [study, dry, quiet, debug, version]


def _contexts(context: click.Context) -> list[click.Context]:
    """The command as it was given, once for every section of its study."""
    sections = context.meta.get(_SECTIONS, [])
    if len(sections) > 1:
        context.obj = f"section 1 of {len(sections)}"
    return [
        context,
        *(
            context.command.make_context(
                context.info_name,
                list(context.meta[_WORDS]),
                default_map=section,
                obj=f"section {number} of {len(sections)}",
            )
            for number, section in enumerate(sections[1:], start=2)
        ),
    ]


def _titles(stages: Mapping[str, Stage]) -> dict[str, str]:
    """Option -> the title of its group in the help, in the order of the groups."""
    groups: dict[str, dict[str, str]] = {}
    for stage in stages.values():
        for title, names in getattr(stage.config, "GROUPS", {}).items():
            known = {name for group in groups.values() for name in group}
            groups.setdefault(title, {}).update({n: title for n in names if n not in known})
    return {name: title for group in groups.values() for name, title in group.items()}


def _stage_options(stages: Mapping[str, Stage]) -> list[click.Option]:
    """The options of all stages, each once."""
    names = dict.fromkeys(name for stage in stages.values() for name in field_names(stage.config))
    return [_shared_option(name, stages) for name in names]


def _shared_option(name: str, stages: Mapping[str, Stage]) -> click.Option:
    """The option `name` of those stages that have it; the first one has the word."""
    users = {key: s.config for key, s in stages.items() if name in field_names(s.config)}
    own = {key: options_of(config)[name] for key, config in users.items()}
    option = next(iter(own.values()))
    option.required = len(users) == len(stages) and all(one.required for one in own.values())
    if isinstance(option.type, click.Choice):
        option.type = NearChoice(every_choice(list(own.values())))
    if USUAL not in users:
        defaults = {key: default_of(config, name) for key, config in users.items()}
        if len(set(defaults.values())) > 1:
            option.show_default = _each_default(defaults) or False
        if len(users) < len(stages):
            option.help = f"[{', '.join(users)}] {option.help}"
    return option


def _each_default(defaults: Mapping[str, Any]) -> str:
    """The defaults of an option that has several, by the stages that have them."""
    having: dict[Any, list[str]] = {}
    for stage, default in defaults.items():
        if default is not None:
            having.setdefault(default, []).append(stage)
    return "; ".join(f"{', '.join(stages)}: {default}" for default, stages in having.items())


def _given(context: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without what an option is by default."""
    default = click.core.ParameterSource.DEFAULT
    return {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name) is not default
    }


def _check_given(chosen: str, config_class: type, given: Mapping[str, Any]) -> None:
    """Raise click's usage errors for options that a stage lacks, or that lack."""
    for name in given:
        if name not in field_names(config_class):
            raise click.UsageError(f"{as_option(name)} is no option of {chosen}")
    for name, option in options_of(config_class).items():
        if option.required and name not in given:
            raise click.UsageError(f"Missing option '{as_option(name)}' of {chosen}.")


def _configurations(config_class: type, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A configuration for every combination of the options of a grid, and what tells it apart."""
    fields = [field for field in dataclasses.fields(config_class) if field.metadata["grid"]]
    axes = {field.name: dict.fromkeys(given[field.name]) for field in fields if field.name in given}
    for chosen in itertools.product(*axes.values()):
        values = dict(zip(axes, chosen, strict=True))
        name = " ".join(f"{as_option(axis)} {value}" for axis, value in values.items())
        yield name, config_class(**{**given, **values})


def _work(calls: Sequence[_Call], *, dry: bool) -> None:
    """Do each; one of several that cannot be had costs the others nothing.

    A `dry` run says what would be done.
    """

    def run(call: _Call) -> None:
        if dry:
            show(call.stage.plan(call.config))
        else:
            keep_freed()
            call.stage.run(call.config)

    if len(calls) == 1:
        run(calls[0])
        return
    faults: list[str] = []
    possible = []
    for call in calls:
        with _kept(faults, call.name):
            if not dry:
                call.stage.check(call.config)
            possible.append(call)
    for call in possible:
        with _kept(faults, call.name):
            run(call)
    if faults:
        raise UserError(
            f"{len(faults)} of {len(calls)} were not done: {'; '.join(faults)}: mend or leave them "
            "out, and run the command again, it goes on with what is missing"
        )


@contextmanager
def _kept(faults: list[str], name: str) -> Iterator[None]:
    """Say what goes wrong with one of several, keep its name, and go on."""
    try:
        yield
    except Exception as error:
        complain(f"error: {name}: {in_one_line(error)}")
        faults.append(name)


def _show_version(_: bool) -> None:
    from importlib.metadata import version

    show(version("position-probes"))
