"""Command lines made from configuration dataclasses, and the exit codes all commands share."""

from __future__ import annotations

import dataclasses
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from data.tools.errors import UserError
from data.tools.settings import choices_of, named_as_options
from data.tools.terminal import complain, quietly, secure_streams, show, write_stderr

C = TypeVar("C")


_CLICK_TYPES: dict[Any, Any] = {
    int: int,
    float: float,
    str: str,
    bool: bool,
    Path: click.Path(path_type=Path),
}


def stage_command(
    config_class: type[C], run: Callable[[C], None], *, help: str, resume: str
) -> click.Command:
    """The click command of one stage: parse into `config_class`, then call `run`.

    Exit codes: 0 done; 1 a `UserError` or a failure of the system, one line on stderr and a
    traceback only with `--debug`; 2 click's own usage errors; 130 after Ctrl-C, followed by
    `resume`, the sentence that says how to go on.
    """

    def callback(debug: bool, quiet: bool, **values: Any) -> None:
        work = exit_codes(debug=debug, resume=resume)
        with named_as_options(), quietly(quiet), work:
            run(config_class(**values))

    return _command(list(_options(config_class).values()), callback, help)


def choice_command(
    choose: str,
    stages: Mapping[str, tuple[type, Callable[[Any], None]]],
    *,
    help: str,
    resume: str,
) -> click.Command:
    """The click command of several stages, told apart by the option `choose`.

    Each of `stages` is a configuration with the field `choose`, and what to run. The command has
    the options of all of them; one that the chosen stage does not have is a usage error.
    """

    def chosen(values: dict[str, Any]) -> tuple[str, str]:
        return values[choose], f"--{choose} {values[choose]}"

    return _several(stages, chosen, [], help=help, resume=resume)


USUAL = ""  # the stage of a `flag_command` that runs without a flag


def flag_command(
    stages: Mapping[str, tuple[type, Callable[[Any], None]]],
    flags: Mapping[str, str],
    *,
    help: str,
    resume: str,
) -> click.Command:
    """The click command of several stages, each but that of `USUAL` asked for by a flag.

    `flags` has the help of every flag. An option that the chosen stage does not have, and two
    flags at once, are usage errors.
    """

    def chosen(values: dict[str, Any]) -> tuple[str, str]:
        asked = [flag for flag in flags if values.pop(flag)]
        if len(asked) > 1:
            raise click.UsageError(f"--{asked[0]} and --{asked[1]} at once: give one of them")
        stage = asked[0] if asked else USUAL
        return stage, f"--{stage}" if stage else "the command without " + ", ".join(
            f"--{flag}" for flag in flags
        )

    added = [click.Option([f"--{flag}"], is_flag=True, help=text) for flag, text in flags.items()]
    return _several(stages, chosen, added, help=help, resume=resume)


def _several(
    stages: Mapping[str, tuple[type, Callable[[Any], None]]],
    chosen: Callable[[dict[str, Any]], tuple[str, str]],
    added: Sequence[click.Option],
    *,
    help: str,
    resume: str,
) -> click.Command:
    """The command of several stages; `chosen` says which values ask for, and in which words."""

    def callback(debug: bool, quiet: bool, **values: Any) -> None:
        context = click.get_current_context()
        stage, words = chosen(values)
        config_class, run = stages[stage]
        given = {
            name: value
            for name, value in values.items()
            if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        }
        _check_given(words, config_class, given)
        work = exit_codes(debug=debug, resume=resume)
        with named_as_options(), quietly(quiet), work:
            run(config_class(**given))

    classes = list(dict.fromkeys(config_class for config_class, _ in stages.values()))
    options: dict[str, click.Option] = {}
    for config_class in reversed(classes):  # the first has the word where several have an option
        options = {**options, **_options(config_class)}
    for name, option in options.items():
        users = [key for key, (stage, _) in stages.items() if name in _field_names(stage)]
        own = [_options(stages[key][0])[name] for key in users]
        option.required = len(users) == len(stages) and all(one.required for one in own)
        defaults = {key: _fields(stages[key][0])[name].default for key in users}
        if len(set(defaults.values())) > 1 and USUAL not in users:
            option.show_default = _each_default(defaults) or False
        if len(users) < len(stages) and USUAL not in users:
            option.help = f"[{', '.join(users)}] {option.help}"
        if isinstance(option.type, click.Choice):
            option.type = click.Choice(_every_choice(name, classes))
    order = dict.fromkeys(name for stage in classes for name in _field_names(stage))
    return _command([*added, *(options[name] for name in order)], callback, help)


def _every_choice(name: str, classes: Sequence[type]) -> list[str]:
    """What the option `name` may be in any of the configurations."""
    kinds = [_options(stage)[name].type for stage in classes if name in _field_names(stage)]
    choices = (
        choice for kind in kinds if isinstance(kind, click.Choice) for choice in kind.choices
    )
    return list(dict.fromkeys(choices))


def _check_given(chosen: str, config_class: type, given: Mapping[str, Any]) -> None:
    """Raise click's usage errors for options that a stage lacks, or that lack."""
    for name in given:
        if name not in _field_names(config_class):
            raise click.UsageError(f"{_spelled(name)} is no option of {chosen}")
    for name, option in _options(config_class).items():
        if option.required and name not in given:
            raise click.UsageError(f"Missing option '{_spelled(name)}' of {chosen}.")


def _each_default(defaults: Mapping[str, Any]) -> str:
    """The defaults of an option that has several, by the stages that have them."""
    having: dict[Any, list[str]] = {}
    for stage, default in defaults.items():
        if default is not None and default is not dataclasses.MISSING:
            having.setdefault(default, []).append(stage)
    return "; ".join(f"{', '.join(stages)}: {default}" for default, stages in having.items())


def _fields(config_class: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(config_class)}


def _field_names(config_class: type) -> list[str]:
    return list(_fields(config_class))


def _options(config_class: type) -> dict[str, click.Option]:
    """The option of every field, by the field's name."""
    hints = typing.get_type_hints(config_class)
    return {
        field.name: _option(field, hints[field.name]) for field in dataclasses.fields(config_class)
    }


def _command(
    stage_options: Sequence[click.Option], callback: Callable[..., None], help: str
) -> click.Command:
    options: list[click.Parameter] = [*stage_options]
    options.append(click.Option(["--debug"], is_flag=True, help="Show tracebacks of errors."))
    options.append(
        click.Option(["--quiet"], is_flag=True, help="Say nothing but errors on stderr.")
    )
    options.append(instead("--version", _show_version, "Say the version, and exit.", is_flag=True))
    return _Command(
        None,
        params=options,
        callback=callback,
        help=help,
        context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    )


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
    """A command that a closed or full stream does not stop, click's own messages included."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        secure_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # click could not print its help, or why it refuses
            complain(f"error: {_one_line(error)}")
            sys.exit(1)


def _show_version(_: bool) -> None:
    from importlib.metadata import version

    show(version("position-probes"))


@contextmanager
def exit_codes(*, debug: bool, resume: str) -> Iterator[None]:
    """Turn what goes wrong inside into the exit codes and messages of `stage_command`."""
    try:
        yield
    except KeyboardInterrupt:
        complain("")
        complain(f"interrupted: {resume}")
        sys.exit(130)
    except (UserError, OSError) as error:
        if debug:
            write_stderr(traceback.format_exc())
        complain(f"error: {_one_line(error)}")
        sys.exit(1)
    except Exception as error:
        if debug:
            write_stderr(traceback.format_exc())
        name = type(error).__name__
        complain(f"error: {name}: {_one_line(error)} (unexpected; --debug shows where)")
        sys.exit(1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _option(field: dataclasses.Field[Any], hint: Any) -> click.Option:
    # `int | None` options take an int; `tuple[str, ...]` options may be given several times.
    arguments = typing.get_args(hint)
    multiple = typing.get_origin(hint) is tuple
    kind = next((a for a in arguments if a in _CLICK_TYPES), hint) if arguments else hint
    required = field.default is dataclasses.MISSING
    choices = choices_of(field) if kind is str else ()  # click knows no choice of numbers
    options: dict[str, Any] = {
        "help": field.metadata["help"],
        "required": required,
        "multiple": multiple,
        "type": click.Choice(choices) if choices else _CLICK_TYPES[kind],
    }
    if not required:
        options["default"] = field.default
    if kind is bool:
        del options["type"]
        options["is_flag"] = True
    return click.Option([_spelled(field.name)], **options)


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")
