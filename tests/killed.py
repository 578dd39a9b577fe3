"""A training that is killed midway, for tests of what comes after it."""

from __future__ import annotations

import pytest

from extract.tasks import trainer
from extract.tasks.config import TaskConfig
from extract.tasks.train import train_backbone


def train_killed(config: TaskConfig, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train as `config` says, and be killed after `steps` steps."""
    step, left = trainer._step, iter(range(steps))

    def killed(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_backbone(config)
