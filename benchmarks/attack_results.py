"""Attack a results folder in bulk: writers at once, killed, with other settings, on full disks.

    python -m benchmarks.attack_results [--rounds 50]

No head is trained: writers add made-up heads, whose every number tells which writer made them.
Each round does all three attacks on a folder of its own.

1. Four writers add five heads each to one run, and SIGKILL ends one of them at a random moment.
2. Two writers of different settings begin one run at the same time.
3. A writer's files may not grow beyond a random size, as on a disk that is full.

After each: the run must be whole, a head in `scores.csv` must be in every file with the numbers of
its writer, no head of a writer that ended well may be missing, heads of two settings may not
stand in one run, and no writer may end by a signal that was not sent to it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import h5py
import numpy as np

from data.cache.identity import Identity
from data.protocols import PROTOCOLS
from data.tools.errors import UserError
from probe import results
from probe.heads.spec import HeadSpec
from probe.results.files import fault

SETTINGS = results.RunSettings("paper", PROTOCOLS["paper"].training, "float32", Identity())
OTHER = replace(SETTINGS, precision="bfloat16")
RUN = "pixels"
HEADS = 5  # of each writer
PROCESSES = multiprocessing.get_context("fork")


def made_up(seed: int, value: float) -> results.HeadResult:
    """A head of which everything is `value`."""
    spec = HeadSpec(("input",), 3, 1, 0, "H", seed)
    scores = dict.fromkeys(results.SCORE_COLUMNS, value) | {"head": spec.name, "images": "test"}
    image = {"head": spec.name, "images": "test", "image": "a", "spc": value, "mae": value}
    loss = {"head": spec.name, "epoch": 1, "train_loss": value, "heldout_loss": value}
    weights = {"0.weight": np.full((1, 64, 3, 3), value, np.float32)}
    row: dict[str, object] = {**scores, "run": RUN}
    return results.HeadResult(spec, [row], [image], [loss], weights, {})


def write(folder: Path, writer: int, settings: results.RunSettings) -> None:
    """What one process does; ends with 1 after a `UserError`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what is refused is expected
    try:
        with results.ResultsWriter(folder / RUN, settings, threads=1) as own:
            for number in range(HEADS):
                results.write_heads(own.folder, [made_up(writer * HEADS + number, writer)])
            results.write_all_scores(folder)
    except UserError:
        os._exit(1)
    os._exit(0)


def write_in_little_room(folder: Path, writer: int, room: int) -> None:
    """As `write`, with files of at most `room` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    write(folder, writer, SETTINGS)


def faults_of(folder: Path, finished: list[int]) -> list[str]:
    """What is wrong with a run to which the writers `finished` added all their heads."""
    place = folder / RUN
    found = [f"not whole: {why}"] if (why := fault(place)) else []
    tables = {name: results.read_rows(place / name) for name in ("scores.csv", "image_scores.csv")}
    tables["losses.csv"] = results.read_rows(place / "losses.csv")
    heads = tables["scores.csv"]["head"].tolist()
    expected = {f"H-input-k3-d1-p0-s{w * HEADS + n}" for w in finished for n in range(HEADS)}
    found += [f"lost: {name}" for name in sorted(expected - set(heads))]
    found += [f"twice: {name}" for name, count in Counter(heads).items() if count > 1]
    for head in heads:
        writer = str(int(head.rsplit("s", 1)[1]) // HEADS)
        values = set()
        for name, column in (
            ("scores.csv", "spc"),
            ("image_scores.csv", "spc"),
            ("losses.csv", "train_loss"),
        ):
            rows = tables[name]
            values |= set(rows[rows["head"] == head][column]) or {"missing"}
        with h5py.File(place / "heads.h5") as file:
            values |= {f"{value:g}" for value in np.unique(file[head]["weights/0.weight"][()])}
        if values != {writer}:
            found.append(f"mixed: {head} of writer {writer} holds {sorted(values)}")
    return found


def killed(folder: Path, generator: random.Random, seconds: float) -> list[str]:
    """Attack 1."""
    writers = [_started(write, folder, number, SETTINGS) for number in range(4)]
    time.sleep(generator.uniform(0, seconds))
    victim = generator.randrange(4)
    os.kill(writers[victim].pid or 0, signal.SIGKILL)
    codes = [_ended(writer) for writer in writers]
    wrong = [f"ended with {code}" for n, code in enumerate(codes) if n != victim and code != 0]
    return wrong + faults_of(folder, [n for n, code in enumerate(codes) if code == 0])


def other_settings(folder: Path, generator: random.Random, seconds: float) -> list[str]:
    """Attack 2."""
    writers = [_started(write, folder, 0, SETTINGS)]
    time.sleep(generator.uniform(0, seconds))
    writers.append(_started(write, folder, 1, OTHER))
    codes = [_ended(writer) for writer in writers]
    wrong = [] if sorted(codes) == [0, 1] else [f"ended with {codes}"]
    settings = results.read_settings(folder / RUN)
    winner = (SETTINGS.precision, OTHER.precision).index(settings.precision if settings else "")
    heads = set(results.read_rows(folder / RUN / "scores.csv")["spc"])
    wrong += [f"mixed: heads of {heads}, settings of {winner}"] if heads != {str(winner)} else []
    return wrong + faults_of(folder, [n for n, code in enumerate(codes) if code == 0])


def little_room(folder: Path, generator: random.Random, seconds: float) -> list[str]:
    """Attack 3."""
    first = _ended(_started(write, folder, 0, SETTINGS))
    size = (folder / RUN / "heads.h5").stat().st_size
    code = _ended(_started(write_in_little_room, folder, 1, generator.randrange(2 * size)))
    wrong = [] if first == 0 and code in (0, 1) else [f"ended with {first}, {code}"]
    parts = [path.name for path in (folder / RUN).iterdir() if path.suffix == ".part"]
    wrong += [f"left {name}" for name in parts]
    return wrong + faults_of(folder, [0, 1] if code == 0 else [0])


def _started(work, *arguments) -> BaseProcess:  # type: ignore[no-untyped-def]
    process = PROCESSES.Process(target=work, args=arguments)
    process.start()
    return process


def _ended(process: BaseProcess) -> int:
    process.join(120)
    assert process.exitcode is not None, "a writer waits for ever"
    return process.exitcode


def main() -> None:
    """Print how many rounds of each attack went wrong, and how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    generator = random.Random(0)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        started = time.monotonic()
        _ended(_started(write, Path(temporary) / "timed", 0, SETTINGS))
        seconds = time.monotonic() - started
        for attack, within in ((killed, 3 * seconds), (other_settings, seconds), (little_room, 0)):
            found = []
            for number in range(options.rounds):
                folder = Path(temporary) / f"{attack.__name__}-{number}"
                found += attack(folder, generator, within)
            print(f"{attack.__name__}: {options.rounds} rounds, {len(found)} faults")
            print("".join(f"  {line}\n" for line in found), end="")
            wrong += len(found)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
