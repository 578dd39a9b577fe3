"""An extraction on a real Dask scheduler with two worker processes, one of them killed midway."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from data.cache.reader import FeatureCache
from data.tools import parallel
from data.tools.errors import UserError
from data.tools.parallel import run_tasks
from extract.run import extract_features
from tests.extraction import ONE_THREAD, command_line, contents, make_photos, small_config


@contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that is killed at the end; its output is one stream."""
    command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ONE_THREAD
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: "subprocess.Popen[str]", pattern: str) -> str:
    """The first group of the first line of output that matches."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(f"{process.args} ended without {pattern}")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", train=570)


def test_a_killed_worker_changes_nothing(photos: Path, tmp_path: Path) -> None:
    reference = extract_features(small_config(photos, tmp_path / "reference"))
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            started("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        )
        address = read_until(scheduler, r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")
        options = ["--no-dashboard", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1"]
        workers = [stack.enter_context(started("worker", address, *options)) for _ in range(2)]
        for worker in workers:
            read_until(worker, r"(Registered to)")
        config = small_config(photos, tmp_path / "cluster", backend="dask", scheduler=address)
        folder = tmp_path / "cluster" / reference.name
        with subprocess.Popen(
            command_line(config), stderr=subprocess.PIPE, text=True, env=ONE_THREAD
        ) as run:
            deadline = time.monotonic() + 300
            while not list(folder.glob("shard-*.h5")):
                assert run.poll() is None, run.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            workers[0].kill()
            assert len(list(folder.glob("shard-*.h5"))) < 8, "killed midway"
            _, stderr = run.communicate(timeout=300)
        assert run.returncode == 0, stderr
    assert len(FeatureCache(folder).records) == 590
    assert contents(folder) == contents(reference)


def test_a_killed_scheduler_leaves_no_traceback(photos: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            started("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        )
        address = read_until(scheduler, r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")
        options = ["--no-dashboard", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1"]
        worker = stack.enter_context(started("worker", address, *options))
        read_until(worker, r"(Registered to)")
        dask = {"backend": "dask", "scheduler": address, "batch_size": 1}
        config = small_config(photos, tmp_path / "cluster", **dask)
        with subprocess.Popen(
            command_line(config), stderr=subprocess.PIPE, text=True, env=ONE_THREAD
        ) as run:
            deadline = time.monotonic() + 300
            while not list((tmp_path / "cluster").glob("*/shard-*.h5")):
                assert run.poll() is None, run.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            scheduler.kill()
            _, stderr = run.communicate(timeout=120)
    assert "Traceback" not in stderr
    if run.returncode:  # else the worker had all it needed, and ended the work without it
        assert run.returncode == 1, stderr
        assert stderr.count("error:") == 1
        assert f"the Dask scheduler at {address} is gone" in stderr


def test_a_scheduler_that_does_not_answer_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match="no Dask scheduler answers at tcp://127"):
        list(run_tasks(print, [(1,)], jobs=1, backend="dask", scheduler="tcp://127.0.0.1:9"))
