"""Handlers: functions with a name and defaults, which enqueue jobs typed like the function."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from ferryman.backoff import Backoff, DelayFormula, from_tenacity
from ferryman.context import Context
from ferryman.errors import ConfigError
from ferryman.fit import Fit
from ferryman.handle import Handle
from ferryman.job import DEFAULT_QUEUE, LONGEST_TYPE, QUEUE_PATTERN, is_type_name

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Options:
    """Defaults of a job type; None: the setting of the same name holds."""

    queue: str = DEFAULT_QUEUE
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: Backoff | DelayFormula | None = None


_OPTION_NAMES = ("queue", "max_attempts", "timeout", "backoff")


def make_options(name: str, given: Mapping[str, Any]) -> Options:
    """Checked options of the job type `name`; ConfigError names the nearest right word."""
    if not is_type_name(name):
        raise ConfigError(f"job type {name!r}: expected 1 to {LONGEST_TYPE} printable characters")
    for word in given:
        if word not in _OPTION_NAMES:
            near = difflib.get_close_matches(word, _OPTION_NAMES, 1)
            hint = (
                f"; did you mean {near[0]}?" if near else f"; expected {', '.join(_OPTION_NAMES)}"
            )
            raise ConfigError(f"job type {name!r}: unknown option {word!r}{hint}")
    options = dict(given)
    wait = options.get("backoff")
    if wait is not None and not isinstance(wait, Backoff):
        if not callable(wait):
            raise ConfigError(f"job type {name!r}: backoff: expected a Backoff or a tenacity wait")
        options["backoff"] = from_tenacity(wait)
    made = Options(**options)
    if not isinstance(made.queue, str) or not QUEUE_PATTERN.fullmatch(made.queue):
        raise ConfigError(f"job type {name!r}: queue: expected letters, digits, . _ -")
    if made.max_attempts is not None and not _is_within(made.max_attempts, (int,), 1, 1000):
        raise ConfigError(f"job type {name!r}: max_attempts: expected 1 to 1000")
    if made.timeout is not None and not _is_within(made.timeout, (int, float), 0.1, 604_800):
        raise ConfigError(f"job type {name!r}: timeout: expected 0.1 to 604800 seconds")
    return made


def _is_within(value: Any, kinds: tuple[type, ...], low: float, high: float) -> bool:
    return type(value) in kinds and bool(low <= value <= high)


class JobType(Generic[P, R]):
    """A registered handler: call it plainly in a test, or enqueue jobs for it."""

    def __init__(
        self,
        name: str,
        function: Callable[P, R],
        options: Options,
        enqueue: Callable[..., Handle],
    ) -> None:
        self.name, self.function, self.defaults = name, function, options
        self.is_async = inspect.iscoroutinefunction(function)
        self._enqueue = enqueue
        self._fit = Fit(name, function)
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def call(self, payload: Any, context: Context | None) -> Any:
        """Run the handler on a decoded payload; a coroutine when it is `async def`.

        Raises BadPayload when the payload does not fit.
        """
        args, kwargs = self._fit(payload, context)
        return self.function(*args, **kwargs)

    @property
    def wants_context(self) -> bool:
        """Whether the handler has a parameter annotated `Context`."""
        return self._fit.wants_context

    def prepare(self) -> None:
        """Make the payload's validators now instead of at the first job."""
        self._fit.build()

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Enqueue a job with these parameters as its payload."""
        return self._enqueue(self.name, self._payload(args, kwargs), queue=self.defaults.queue)

    def options(self, **options: Any) -> Bound[P]:
        """Options for the next `enqueue`: those of `Ferryman.enqueue`."""
        merged = {"queue": self.defaults.queue} | options

        def bound(*args: Any, **kwargs: Any) -> Handle:
            return self._enqueue(self.name, self._payload(args, kwargs), **merged)

        return Bound(bound)

    def _payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return self._fit.payload(args, kwargs)


class Bound(Generic[P]):
    """A job type with options, waiting for its parameters."""

    def __init__(self, enqueue: Callable[P, Handle]) -> None:
        self._enqueue = enqueue

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Enqueue a job with these parameters as its payload."""
        return self._enqueue(*args, **kwargs)


class Registry:
    """The job types of one application, by name."""

    def __init__(self) -> None:
        self._types: dict[str, JobType[Any, Any]] = {}

    def add(self, job_type: JobType[Any, Any]) -> None:
        """Register; ConfigError when the name is taken."""
        if job_type.name in self._types:
            raise ConfigError(f"job type {job_type.name!r} is registered twice")
        self._types[job_type.name] = job_type

    def get(self, name: str) -> JobType[Any, Any] | None:
        return self._types.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)
