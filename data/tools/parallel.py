"""Independent tasks on joblib: processes of this machine, or a Dask cluster by its address."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import joblib

from data.tools.errors import UserError
from data.tools.settings import spelled

A = TypeVar("A")
T = TypeVar("T")

BACKENDS = ("loky", "dask")
CONNECT_SECONDS = 10  # until a scheduler that does not answer is given up
WATCH_SECONDS = 0.5  # between two looks whether the parent is there


def check_scheduler(address: str) -> None:
    """Raise `ValueError` unless `address` can be that of a Dask scheduler."""
    if not re.fullmatch(r"[a-z]+://\S+", address):
        raise ValueError("give the address as the scheduler prints it, tcp://HOST:PORT")


def check_cluster(backend: str, scheduler: str | None) -> None:
    """Raise `UserError` unless backend and scheduler go together."""
    if backend == "dask" and scheduler is None:
        raise UserError(f"{spelled('backend')} dask needs {spelled('scheduler')} tcp://HOST:PORT")
    if backend != "dask" and scheduler is not None:
        raise UserError(
            f"{spelled('scheduler')} {scheduler} is of a cluster: add {spelled('backend')} dask"
        )


def run_tasks(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    *,
    jobs: int,
    backend: str = "loky",
    scheduler: str | None = None,
) -> Iterator[T]:
    """Yield `function(*task)` for every task, in the order in which they end.

    `jobs` run at a time on this machine; a cluster runs as many as it has threads. A task whose
    Dask worker dies is given to another worker. Processes of this machine end when this one does,
    however it ends. Raises what a task raises, and `UserError` when there is no such cluster, or
    when it or a process of this machine is killed.
    """
    where = _cluster(scheduler) if scheduler is not None else _workers()
    with where, joblib.parallel_config(backend=backend, n_jobs=-1 if backend == "dask" else jobs):
        parent = os.getpid() if backend == "loky" else None
        calls = (joblib.delayed(_call)(parent, function, task) for task in tasks)
        yield from joblib.Parallel(return_as="generator_unordered", pre_dispatch="all")(calls)


def _call(parent: int | None, function: Callable[..., T], task: tuple[Any, ...]) -> T:
    if parent is not None and parent != os.getpid():
        _end_with(parent)
    return function(*task)


@lru_cache(1)
def _end_with(parent: int) -> None:
    """End this process soon after `parent` has: nobody waits for its results any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _workers() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for want of memory: use fewer --jobs, then run "
            "the command again, without --overwrite, to resume"
        ) from error


def _cluster(scheduler: str) -> AbstractContextManager[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            "--backend dask needs Dask: pip install 'position-probes[cluster]'"
        ) from None
    return _client(Client, scheduler)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep Dask from logging tracebacks of connections that break: what matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _client(client_class: Any, scheduler: str) -> Iterator[None]:
    try:
        client = client_class(scheduler, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        with _silenced(), client:
            yield
    except (CommClosedError, FutureCancelledError, CancelledError, TimeoutError) as error:
        raise UserError(
            f"the Dask scheduler at {scheduler} is gone: start it and its workers, then run the "
            "command again, without --overwrite, to resume"
        ) from error


def in_threads(function: Callable[[A], T], items: Sequence[A], num_workers: int) -> Iterator[T]:
    """`function` of every item, in order, for functions that let go of the lock at work."""
    parallel = joblib.Parallel(n_jobs=max(1, num_workers), prefer="threads", return_as="generator")
    yield from parallel(joblib.delayed(function)(item) for item in items)
