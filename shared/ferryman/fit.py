"""Fits payloads to a handler's parameters."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ferryman.context import BadPayload, Context
from ferryman.errors import ConfigError, InvalidJob


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
        self._names = {p.name for p in self._params}
        self._required = {p.name for p in self._params if p.default is p.empty}
        self._is_plain: bool | None = None
        self._validate: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]] | None = None

    @property
    def wants_context(self) -> bool:
        """Whether the function has a parameter annotated `Context`."""
        return self._context is not None

    def __call__(
        self, payload: Any, context: Context | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments for the function; BadPayload when they do not fit."""
        args, kwargs = (self._validate or self.build())(payload)
        if self._context is not None:
            kwargs[self._context] = context
        return args, kwargs

    def build(self) -> Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]:
        """Make the validators now; else the first payload waits for them, 70 ms with pydantic."""
        self._validate = self._build()
        return self._validate

    def payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The JSON value that stands for these arguments; InvalidJob when one is no JSON."""
        if self._is_plain is None:
            self._is_plain = self._model() is None and not any(
                p.kind is p.VAR_KEYWORD for p in self._params
            )
        # To bind costs 9 us, which only what may be wrong has to pay.
        if self._is_plain and not args and self._required <= kwargs.keys() <= self._names:
            return {name: _plain(name, value) for name, value in kwargs.items()}
        bound = inspect.Signature(self._params).bind(*args, **kwargs).arguments
        if self._model() is not None:
            return next(iter(bound.values())).model_dump(mode="json", exclude_unset=True)
        out: dict[str, Any] = {}
        for param in self._params:
            if param.name not in bound:
                continue
            value = bound[param.name]
            out.update(value if param.kind is param.VAR_KEYWORD else {param.name: value})
        return {name: _plain(name, value) for name, value in out.items()}

    def _model(self) -> Any:
        from pydantic import BaseModel

        if len(self._params) != 1:
            return None
        hint = self._hints.get(self._params[0].name)
        return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None

    def _build(self) -> Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]:
        from pydantic import ConfigDict, TypeAdapter, ValidationError
        from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

        model = self._model()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in self._params)
        named = [p for p in self._params if p.kind is not p.VAR_KEYWORD]
        # A dictionary, not a model: what is valid comes back as the keyword arguments themselves.
        make: Any = TypedDict
        shape = make(f"{self._name} payload", {p.name: self._key(p) for p in named})
        shape.__pydantic_config__ = ConfigDict(extra="allow" if open_ended else "forbid")
        by_name = TypeAdapter(model or shape)
        only = TypeAdapter(self._hint(named[0])) if len(named) == 1 and model is None else None

        def validate(payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            try:
                if not isinstance(payload, dict) and only is not None:
                    return (), {named[0].name: only.validate_python(payload)}
                value = by_name.validate_python(payload)
            except ValidationError as error:
                raise BadPayload(_explain(error)) from None
            return (), value if model is None else {self._params[0].name: value}

        return validate

    def _hint(self, param: inspect.Parameter) -> Any:
        return self._hints.get(param.name, Any)

    def _key(self, param: inspect.Parameter) -> Any:
        return (typing.Required if param.default is param.empty else typing.NotRequired)[
            self._hint(param)
        ]


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise InvalidJob.at(f"/payload/{name}", str(error)) from None


def _explain(error: Any) -> str:
    parts = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
        where = "/".join(str(p) for p in item["loc"])
        parts.append(f"{where}: {item['msg']}" if where else item["msg"])
    return "payload does not fit: " + "; ".join(parts)
