"""Independent tasks on joblib: processes of this machine, or a Dask cluster by its address."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import joblib

from data.tools.errors import UserError
from data.tools.settings import spelled

A = TypeVar("A")
T = TypeVar("T")

BACKENDS = ("loky", "dask")
CONNECT_SECONDS = 10  # until a scheduler that does not answer is given up


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
    Dask worker dies is given to another worker. Raises what a task raises, and `UserError` when
    there is no such cluster.
    """
    where = _cluster(scheduler) if scheduler is not None else nullcontext()
    with where, joblib.parallel_config(backend=backend, n_jobs=-1 if backend == "dask" else jobs):
        calls = (joblib.delayed(function)(*task) for task in tasks)
        yield from joblib.Parallel(return_as="generator_unordered", pre_dispatch="all")(calls)


def _cluster(scheduler: str) -> AbstractContextManager[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            "--backend dask needs Dask: pip install 'position-probes[cluster]'"
        ) from None
    return _client(Client, scheduler)


@contextmanager
def _client(client_class: Any, scheduler: str) -> Iterator[None]:
    try:
        client = client_class(scheduler, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client:
        yield


def in_threads(function: Callable[[A], T], items: Sequence[A], num_workers: int) -> Iterator[T]:
    """`function` of every item, in order, for functions that let go of the lock at work."""
    parallel = joblib.Parallel(n_jobs=max(1, num_workers), prefer="threads", return_as="generator")
    yield from parallel(joblib.delayed(function)(item) for item in items)
