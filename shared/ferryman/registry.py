"""Handlers and what a handler may raise or ask for.

A `JobType` is a function with a name and defaults. It fits a payload to the function's
parameters (validated by pydantic) and enqueues jobs typed like the function.
"""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

from ferryman.backoff import Backoff, DelayFormula, from_tenacity
from ferryman.errors import ConfigError
from ferryman.job import DEFAULT_QUEUE, QUEUE_PATTERN

if TYPE_CHECKING:
    from ferryman.client import Handle

P = ParamSpec("P")
R = TypeVar("R")


class Signal(Exception):
    """What a handler raises to steer its job; not an error."""


class Retry(Signal):
    """Run again later; counts as a failure. `delay` in seconds replaces the backoff."""

    def __init__(self, reason: str = "asked to be retried", delay: float | None = None) -> None:
        self.reason, self.delay = reason, delay
        super().__init__(reason)


class Snooze(Signal):
    """Run again after `delay` seconds; nothing is charged."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        super().__init__(f"snoozed for {delay:g} s")


class Bury(Signal):
    """Give up at once: to the dead letters, whatever attempts are left."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Interrupt(BaseException):
    """Raised inside a handler that must stop; `reason` is "timeout", "cancel" or "stop".

    A BaseException, so that `except Exception` in a handler does not swallow it. Clean up and
    let it pass.
    """

    reason = "stop"


class BadPayload(Exception):
    """The payload does not fit the handler's parameters: the job fails without retries."""


class Services(Protocol):
    """What a running job may say; fenced by its attempt."""

    def progress(self, job_id: str, attempt: int, fraction: float, note: str) -> None: ...


@dataclass(frozen=True)
class Context:
    """What a handler may know of its run; asked for by a parameter annotated `Context`."""

    job_id: str
    type: str
    queue: str
    attempt: int
    failures: int
    max_attempts: int
    timeout: float
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    services: Services | None = field(default=None, repr=False)

    def progress(self, fraction: float, note: str = "") -> None:
        """Say how far the run is: 0 to 1, with a few words. Kept on the job for readers."""
        if self.services is not None:
            self.services.progress(self.job_id, self.attempt, min(max(fraction, 0.0), 1.0), note)


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
    if not QUEUE_PATTERN.fullmatch(made.queue):
        raise ConfigError(f"job type {name!r}: queue: expected letters, digits, . _ -")
    if made.max_attempts is not None and not 1 <= made.max_attempts <= 1000:
        raise ConfigError(f"job type {name!r}: max_attempts: expected 1 to 1000")
    if made.timeout is not None and not 0.1 <= made.timeout <= 604_800:
        raise ConfigError(f"job type {name!r}: timeout: expected 0.1 to 604800 seconds")
    return made


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

    def call(self, payload: Any, context: Context) -> Any:
        """Run the handler on a decoded payload; a coroutine when it is `async def`.

        Raises BadPayload when the payload does not fit.
        """
        args, kwargs = self._fit(payload, context)
        return self.function(*args, **kwargs)

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


class Fit:
    """Fits payloads to a function's parameters, and parameters to a payload.

    An object fills the parameters by name (or becomes the one pydantic model); any other JSON
    value is the only parameter. Validators are built on first use: importing a job is cheap.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name, self._function = name, function
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise ConfigError(f"job type {name!r}: annotation not found: {error}") from error
        signature = inspect.signature(function)
        self._context = next((p for p, hint in hints.items() if hint is Context), None)
        self._params = [p for p in signature.parameters.values() if p.name != self._context]
        self._hints = hints
        if any(p.kind is p.VAR_POSITIONAL or p.kind is p.POSITIONAL_ONLY for p in self._params):
            raise ConfigError(f"job type {name!r}: parameters must be callable by name")
        self._validate: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]] | None = None

    def __call__(self, payload: Any, context: Context) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments for the function; BadPayload when they do not fit."""
        if self._validate is None:
            self._validate = self._build()
        args, kwargs = self._validate(payload)
        if self._context is not None:
            kwargs[self._context] = context
        return args, kwargs

    def payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The JSON value that stands for these arguments."""
        bound = inspect.Signature(self._params).bind(*args, **kwargs).arguments
        if self._model() is not None:
            return next(iter(bound.values())).model_dump(mode="json", exclude_unset=True)
        out: dict[str, Any] = {}
        for param in self._params:
            if param.name not in bound:
                continue
            value = bound[param.name]
            out.update(value if param.kind is param.VAR_KEYWORD else {param.name: value})
        return {k: _plain(v) for k, v in out.items()}

    def _model(self) -> Any:
        from pydantic import BaseModel

        if len(self._params) != 1:
            return None
        hint = self._hints.get(self._params[0].name)
        return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None

    def _build(self) -> Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]:
        from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model

        model = self._model()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in self._params)
        named = [p for p in self._params if p.kind is not p.VAR_KEYWORD]
        # Aliases keep a parameter called e.g. `json` or `copy` clear of pydantic's own methods.
        shape: Any = create_model(
            f"{self._name} payload",
            __config__=ConfigDict(extra="allow" if open_ended else "forbid"),
            **{f"p{i}": self._field(p) for i, p in enumerate(named)},
        )
        by_name = TypeAdapter(model or shape)
        only = TypeAdapter(self._hint(named[0])) if len(named) == 1 and model is None else None

        def validate(payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            try:
                if not isinstance(payload, dict) and only is not None:
                    return (), {named[0].name: only.validate_python(payload)}
                value = by_name.validate_python(payload)
            except ValidationError as error:
                raise BadPayload(_explain(error)) from None
            if model is not None:
                return (), {self._params[0].name: value}
            given = value.model_fields_set
            kwargs = {
                p.name: getattr(value, f"p{i}") for i, p in enumerate(named) if f"p{i}" in given
            }
            return (), kwargs | (value.model_extra or {})

        return validate

    def _hint(self, param: inspect.Parameter) -> Any:
        return self._hints.get(param.name, Any)

    def _field(self, param: inspect.Parameter) -> Any:
        from pydantic import Field

        default = ... if param.default is param.empty else param.default
        return (self._hint(param), Field(default, alias=param.name))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


def _explain(error: Any) -> str:
    parts = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
        where = "/".join(str(p) for p in item["loc"])
        parts.append(f"{where}: {item['msg']}" if where else item["msg"])
    return "payload does not fit: " + "; ".join(parts)


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
