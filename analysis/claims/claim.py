"""What a claim is: a sentence, and the comparisons of readouts that decide it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from data.vocabulary import ALL_LEVELS, PIXELS

# What a reading is known by, columns of measured rows.
READING = ["backbone", "backbone_padding", "pattern", "reads", "kernel_size", "depth"]
READING += ["probe_padding"]


@dataclass(frozen=True)
class Reading:
    """One readout of a backbone, by default that of the paper's table 1."""

    pattern: str
    padding: str = "zeros"
    reads: str = ALL_LEVELS
    kernel_size: int = 3
    depth: int = 1
    probe_padding: int = 0
    pixels: bool = False  # of the images themselves, whatever the backbone

    def key(self, backbone: str) -> tuple[Any, ...]:
        """The values of `READING`."""
        place = (PIXELS, "-") if self.pixels else (backbone, self.padding)
        shape = (self.reads, self.kernel_size, self.depth, self.probe_padding)
        return (*place, self.pattern, *shape)


@dataclass(frozen=True)
class Comparison:
    """`more` is claimed to score a higher SPC than `less`, or than zero."""

    text: str
    more: Reading
    less: Reading | None

    @property
    def sides(self) -> list[Reading]:
        """The readings compared, one or two."""
        return [side for side in (self.more, self.less) if side is not None]


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and what decides it."""

    name: str
    statement: str
    comparisons: tuple[Comparison, ...]
    made_for: tuple[str, ...] = ("vgg16",)  # backbones the paper shows it for
    equal_width: tuple[str, ...] = ()  # levels that must have equally many channels


def each(
    patterns: tuple[str, ...], text: str, more: dict[str, Any], less: dict[str, Any]
) -> tuple[Comparison, ...]:
    """For every pattern, the reading changed by `more` against that changed by `less`."""
    return tuple(
        Comparison(f"{p}: {text}", replace(Reading(p), **more), replace(Reading(p), **less))
        for p in patterns
    )


def steps(
    patterns: tuple[str, ...], name: str, values: list[Any], **shared: Any
) -> tuple[Comparison, ...]:
    """Each value of a reading's field against the one before."""
    words = {"kernel_size": "kernel {0} x {0}", "depth": "{0} layers", "reads": "{0}"}
    word = words.get(name, "readout padding {0}")
    return tuple(
        comparison
        for before, after in zip(values, values[1:], strict=False)
        for comparison in each(
            patterns,
            f"{word.format(after)} minus {word.format(before)}".replace("1 layers", "1 layer"),
            {name: after, **shared},
            {name: before, **shared},
        )
    )
