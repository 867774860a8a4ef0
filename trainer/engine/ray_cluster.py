"""A client of the Ray cluster: its machines and its actors. Every call takes finite time.

All errors of Ray become one of two. `Lost`: one worker is gone, and Ray starts it again. `Away`: the cluster does not
answer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "3",
    "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "3",
    "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "3",
}.items():
    os.environ.setdefault(_name, _value)
_token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
if "RAY_AUTH_TOKEN" in os.environ or _token.exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # otherwise a client sends no token

import ray  # noqa: E402 - reads the environment when it is imported
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from shared.settings.services import TrainerSettings  # noqa: E402
from trainer.engine.shards import Lost  # noqa: E402

log = logging.getLogger(__name__)

GROUP = 4
"""Cores per worker that embeds without a GPU: more cores would wait for one another."""
ASK_SECONDS = 10.0
"""Time limit of a question that needs no computation."""
SEND_SECONDS = 120.0
"""Time limit for sending rows or a network."""
T = TypeVar("T")


class Away(Exception):  # noqa: N818 - a state of the cluster
    """The cluster does not answer. The message says why, in a few words."""


def _asked(work: Callable[[], T], seconds: float) -> T:
    """Run `work`, which asks the cluster, and return its result. Raises Away after `seconds` or if the connection
    fails.

    `work` runs on a thread of its own. If the cluster's head node is frozen or cut off, Ray's client waits without a
    limit, until the connection breaks after a minute or more. Then the thread ends, too.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # raised again in the waiting thread
            answer.set_exception(error)

    threading.Thread(target=ask, name="ray-question", daemon=True).start()
    try:
        return answer.result(seconds)
    except (Away, Lost):
        raise
    except TimeoutError:
        raise Away("it does not answer any more") from None
    except Exception as error:  # Ray's client raises anything from ConnectionError to plain Exception
        raise Away("the connection broke") from error


class RayCrew:
    """Actors by number."""

    def __init__(self, actors: Sequence[Any], *, on_gpus: bool = False) -> None:
        self.count = len(actors)
        self.actors = actors
        self.on_gpus = on_gpus

    def put(self, value: Any) -> Any:
        """Send a value once that several calls use."""
        return _asked(lambda: ray.put(value), SEND_SECONDS)

    def call(self, worker: int, method: str, *given: Any) -> Any:
        """Start a call; returns its ticket."""

        def begin() -> Any:
            ticket = getattr(self.actors[worker], method).remote(*given)
            hash(ticket)  # waits without a limit until the cluster has numbered the call
            return ticket

        return _asked(begin, ASK_SECONDS)

    def results(self, tickets: Sequence[tuple[int, Any]], seconds: float) -> list[Any]:
        """The results of these calls, given as (worker, ticket). Raises Lost."""
        until, found = time.monotonic() + seconds, []
        for worker, ticket in tickets:
            try:
                left = max(until - time.monotonic(), 0.1)
                found.append(_asked(partial(_got, worker, ticket, left), left + ASK_SECONDS))
            except Lost as lost:
                log.warning("%s", lost, exc_info=True)
                raise
        return found

    def ready(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """Wait for the first answer; returns the tickets that have one."""

        def look() -> list[Any]:
            done: list[Any] = ray.wait(list(tickets), num_returns=1, timeout=seconds)[0]
            if done and len(tickets) > 1:
                done = ray.wait(list(tickets), num_returns=len(tickets), timeout=0)[0]
            return done

        return _asked(look, seconds + ASK_SECONDS)


def _got(worker: int, ticket: Any, seconds: float) -> Any:
    try:
        return ray.get(ticket, timeout=seconds)
    except (RayActorError, RayTaskError, GetTimeoutError) as error:
        raise Lost(worker) from error


class RayCluster:
    """A connection to the cluster at `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._nodes: list[dict[str, Any]] = []
        self._hired: dict[str, list[Any]] = {}

    @property
    def machines(self) -> list[str]:
        """The machines that have workers."""
        return [str(node["NodeID"]) for node in self._nodes]

    def connect(self) -> None:
        """Connect again, without the workers of an earlier connection. Raises Away."""
        self.close()
        try:
            ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise Away("it does not answer, or has another token") from error
        except Exception as error:  # such as another version of Python or Ray
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise Away(words[0].rstrip(".")[:200]) from error
        self._nodes = _asked(_machines, ASK_SECONDS)
        if not self._nodes:
            raise Away("it has no machine with a processor")

    def changed(self) -> bool:
        """Whether machines have come or gone since `connect`. Raises Away."""
        return [str(node["NodeID"]) for node in _asked(_machines, ASK_SECONDS)] != self.machines

    def hire_holders(self, kind: type) -> RayCrew:
        """Start one worker for rows on each machine. Raises Away."""

        def hire() -> list[Any]:
            actor: Any = ray.remote(kind)
            return [actor.options(**_on(node, 0)).remote() for node in self._nodes]

        return self._started("rows", _asked(hire, ASK_SECONDS))

    def hire_embedders(self, kind: type, settings: TrainerSettings, key: str, frozen: bytes) -> RayCrew | None:
        """Start a worker for images on each GPU, or on every few cores without one; None: nothing is free."""
        any_gpu = any(_has(node, "GPU") for node in self._nodes)

        def hire() -> list[Any]:
            actor: Any = ray.remote(kind)
            sent, actors = ray.put(frozen), []
            for node in self._nodes:
                gpus, cores = _has(node, "GPU"), _has(node, "CPU")
                count = gpus if any_gpu else max(round(cores / GROUP), 1)
                each = 1 if any_gpu else max(cores // count, 1)
                options = {**_on(node, each), "max_concurrency": 2} | ({"num_gpus": 1} if any_gpu else {})
                actors += [actor.options(**options).remote(settings, key, sent) for _ in range(count)]
            return actors

        actors = _asked(hire, SEND_SECONDS)
        return self._started("images", actors, on_gpus=any_gpu) if actors else None

    def dismiss(self, what: str) -> None:
        """Release the workers for rows or for images. Raises Away."""
        for actor in self._hired.pop(what, []):
            _asked(partial(ray.kill, actor), ASK_SECONDS)

    def close(self) -> None:
        """Disconnect. Actors end with the connection."""
        self._hired = {}
        try:
            ray.shutdown()
        except Exception:  # the connection is gone, and that is all that matters
            log.debug("Ray did not disconnect", exc_info=True)

    def _started(self, what: str, actors: list[Any], *, on_gpus: bool = False) -> RayCrew:
        self._hired[what] = actors
        return RayCrew(actors, on_gpus=on_gpus)


def _machines() -> list[dict[str, Any]]:
    nodes: Any = ray.nodes  # which has no types
    alive = [node for node in nodes() if node["Alive"] and _has(node, "CPU")]
    return sorted(alive, key=lambda node: str(node["NodeID"]))


def _has(node: dict[str, Any], resource: str) -> int:
    return int(node["Resources"].get(resource, 0))


def _on(node: dict[str, Any], cores: int) -> dict[str, Any]:
    """Options of an actor on this machine, which Ray restarts whenever it ends."""
    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return {"num_cpus": cores, "max_restarts": -1, "max_task_retries": 0, "scheduling_strategy": where}
