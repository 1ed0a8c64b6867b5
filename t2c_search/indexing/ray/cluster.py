"""Ray and its clusters: reach one, keep it quiet, and share its machines out among worker processes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import ModuleType
from typing import TextIO, cast
from urllib.parse import urlsplit

from t2c_search.child import search_path
from t2c_search.errors import UsageError

_CONNECT_SECONDS = 5.0
_LISTENER = "ray_listen_error_messages"  # Ray's thread that prints, for each worker that died, what that may mean


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster, this machine's processors when ``address`` is None, and whether its GPUs are used where there are any."""

    address: str | None = None
    use_gpus: bool = False


def import_ray() -> ModuleType:
    """Return Ray with Ray Data, told to report nothing to its makers. Raises UsageError when that is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # or else it keeps some to print at the end, from another thread
    try:
        import ray
        import ray.data  # needs pandas too, which Ray alone does not bring along
    except ImportError as exc:
        raise UsageError(
            f"engine 'ray' needs Ray Data, which is not installed ({exc}): pip install t2c-search[ray]"
        ) from exc
    return ray


@contextmanager
def quiet() -> Iterator[None]:
    """Keep off the terminal what Ray has to say, from its start to its end; its log files have it all."""
    import_ray()
    consoles = [item for item in logging.getLogger("ray.data").handlers if isinstance(item, logging.StreamHandler)]
    levels = [console.level for console in consoles]
    for console in consoles:
        console.setLevel(logging.CRITICAL + 1)
    try:
        with redirect_stdout(cast(TextIO, _WithoutListener(sys.stdout))):
            yield
    finally:
        for console, level in zip(consoles, levels, strict=True):
            console.setLevel(level)


class _WithoutListener:
    """A text stream that drops what Ray's thread writes to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name == _LISTENER else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Connect to a cluster, or start Ray on this machine; a connection that is there already is used and kept.

    Raises UsageError when no cluster answers.
    """
    ray = import_ray()
    if ray.is_initialized():
        _hear_out(ray)
        yield ray
        return
    if address is not None:
        check_address(address)
    _start(ray, address)
    try:
        _hear_out(ray)
        yield ray
    finally:
        ray.shutdown()


def _start(ray: ModuleType, address: str | None) -> None:
    """Connect to a cluster, or start Ray on this machine, once more where it has not started within the time it takes itself."""
    from ray.job_config import JobConfig

    class OwnPath(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            """Say so: Ray would put the working folder first on its workers' path, whoever put modules there."""
            return True

    for last in (address is not None, True):
        try:
            with _environment(address), _kept_signals():
                ray.init(
                    address or "local",
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level="error",
                    job_config=OwnPath(),
                )
            return
        except Exception as exc:  # what does not start within its 30 s is told as a plain Exception
            ray.shutdown()
            if last:
                reason = str(exc).strip().partition("\n")[0]
                where = (
                    f"no Ray cluster can be used at {address!r}" if address else "Ray does not start on this machine"
                )
                raise UsageError(f"{where}: {reason}") from exc


@contextmanager
def _environment(address: str | None) -> Iterator[None]:
    """Set what Ray's processes on this machine inherit: where modules lie, and that its workers yield to nobody."""
    if address is not None:
        yield
        return
    os.environ.setdefault("RAY_worker_niceness", "0")  # as without Ray
    former = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = search_path()
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if former is not None:
            os.environ["PYTHONPATH"] = former


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep what happens on SIGTERM, for which Ray has its own idea; only the main thread's start changes that."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if former is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)


def _hear_out(ray: ModuleType) -> None:
    """Make Ray say, while nobody listens, what it says once of actors that can start anew, as Ray Data's do.

    That is an error on the bare stream, which no setting silences.
    """
    actor = ray.remote(num_cpus=0, max_restarts=1)(_Nobody)
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        nobody = actor.remote(ray.put(None))
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
    ray.kill(nobody)


class _Nobody:
    """An actor that is given an object, and does nothing."""

    def __init__(self, _: None) -> None: ...


def check_address(address: str) -> None:
    """Raise UsageError when nothing listens there, or Ray's client server, through which Ray Data cannot be used.

    Ray itself would try for minutes. ``auto`` names no place to look.
    """
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.port is not None:
            socket.create_connection((place.hostname or "", place.port), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({exc}): name its head as host:port, usually port 6379, or auto on a "
            "machine of the cluster"
        ) from exc
    if address.startswith("ray://"):
        raise UsageError(
            f"Ray's client at {address!r} cannot be used: name the cluster's head as host:port, usually port 6379, or auto "
            "on a machine of the cluster"
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """How many workers there is room for, and the processors and GPUs that each takes."""

    workers: int
    cpus: int
    gpus: int


def place(nodes: Sequence[Mapping[str, float]], threads: int | None, use_gpus: bool) -> Placement:
    """Share out the machines' resources: a worker for each GPU, or else for each ``threads`` processors (one when None).

    Raises UsageError when there is room for none.
    """
    rooms = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    gpus = sum(gpus for _, gpus in rooms) if use_gpus else 0
    if gpus:
        rooms = [(cpus, gpus) for cpus, gpus in rooms if gpus]
        each = threads or max(1, min(cpus // gpus for cpus, gpus in rooms))
        workers = sum(min(cpus // each, gpus) for cpus, gpus in rooms)
    else:
        each = threads or 1
        workers = sum(cpus // each for cpus, _ in rooms)
    if not workers:
        raise UsageError(f"no machine of the Ray cluster has {each} processors for a worker: name fewer with --workers")
    return Placement(workers, each, min(gpus, 1))
