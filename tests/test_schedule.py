"""When a pass ends and its rate falls, worked out by hand."""

from dataclasses import replace

import pytest

from data.protocols import PROTOCOLS
from probe.sgd.schedule import Schedule

PAPER = PROTOCOLS["paper"].training


def test_the_papers_run():
    schedule = Schedule.of(PAPER, 10533)
    assert (schedule.per_epoch, schedule.epochs, schedule.total) == (330, 15, 4950)
    assert [schedule.rate(step) for step in (3299, 3300)] == [1.0, 0.1]  # after epoch 10


@pytest.mark.parametrize(
    ("steps", "epochs", "last", "decay"),
    [(4940, 165, range(4920, 4940), 3293), (30, 1, range(30), 20), (1, 1, range(1), 1)],
)
def test_so_many_steps(steps: int, epochs: int, last: range, decay: int):
    recipe = replace(PAPER, batch_size=8, epochs=None, steps=steps)
    schedule = Schedule.of(recipe, 240)
    assert schedule.epochs == epochs
    assert schedule.steps(epochs - 1) == last
    taken = [step for epoch in range(epochs) for step in schedule.steps(epoch)]
    assert taken == list(range(steps))
    assert [schedule.rate(step) for step in taken] == [1.0] * decay + [0.1] * (steps - decay)


def test_without_decay_the_rate_stays():
    schedule = Schedule.of(PROTOCOLS["reproduction"].training, 9)
    assert {schedule.rate(step) for step in range(schedule.total)} == {1.0}


@pytest.mark.parametrize("length", [{"epochs": None}, {"steps": 9}])
def test_a_recipe_has_one_length(length: dict[str, int | None]):
    with pytest.raises(ValueError, match="so many epochs or after so many steps"):
        replace(PAPER, **length)
