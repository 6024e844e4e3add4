"""What a handler can throw at the worker that runs it, and how its job must end.

A trick is a function that raises or returns; the job type `trick` runs the one its payload names,
in a thread, `async_trick` in the event loop. Both know nothing of who asks.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, NoReturn

from ferryman import Bury, Ferryman, Retry, Snooze
from ferryman.context import BadPayload, Interrupt

ferry = Ferryman()

TRICKS: dict[str, tuple[Callable[[random.Random], Any], str]] = {}
"""Name -> what happens, the state in which a job with one attempt ends."""

HUGE = 50_000_000
"""Characters."""


def trick(ends: str = "failed") -> Callable[[Callable[[random.Random], Any]], Any]:
    """Note a trick under its own name."""

    def note(function: Callable[[random.Random], Any]) -> Any:
        TRICKS[function.__name__] = (function, ends)
        return function

    return note


def draw(seed: int, case: int) -> tuple[str, random.Random]:
    """The trick of a case, and its chance. Every name comes in turn; the huge ones seldom."""
    names = sorted(TRICKS)
    name = names[case % len(names)]
    if name.startswith("huge") and case // len(names) % 4:
        name = "plain"
    return name, random.Random(f"{seed}:{case}:{name}")


@ferry.job("trick")
def run(name: str, seed: int, case: int) -> Any:
    return TRICKS[name][0](draw(seed, case)[1])


@ferry.job("async_trick")
async def run_async(name: str, seed: int, case: int) -> Any:
    await asyncio.sleep(0)
    value = TRICKS[name][0](draw(seed, case)[1])
    return await value if name == "task_exits" else value


def scream(*_: object, **__: object) -> NoReturn:
    """Stands in for every method that is asked for an answer."""
    raise random.choice([ValueError, SystemExit, KeyboardInterrupt, RecursionError, GeneratorExit])(
        "you asked"
    )


class Slippery(str):
    """A text that is none when somebody works with it."""

    encode = __format__ = __len__ = __add__ = __str__ = __repr__ = __eq__ = __getitem__ = scream
    __hash__ = str.__hash__
    strip = split = splitlines = replace = isprintable = join = scream


class Number(float):
    """A number that is none when somebody works with it."""

    __lt__ = __gt__ = __le__ = __ge__ = __eq__ = __float__ = __int__ = __format__ = scream
    __repr__ = __str__ = __add__ = __radd__ = __bool__ = __hash__ = scream


@trick()
def plain(chance: random.Random) -> NoReturn:
    raise ValueError("no")


@trick()
def odd_text(chance: random.Random) -> NoReturn:
    parts = ["\x1b[31;1mred\x1b[2J", "\r\n", "\n", "\u2028", "\x85", "<script>alert(1)</script>",
             "\x00", "\ud800", "\udfff\ud800", "\u202e", "é😀", '"', "\\", "{}", "%s", "\x7f",
             "\ufeff", "x" * 9000]  # fmt: skip
    raise RuntimeError("".join(chance.choice(parts) for _ in range(chance.randrange(1, 40))))


@trick()
def cut_in_a_character(chance: random.Random) -> NoReturn:
    raise RuntimeError("x" * chance.randrange(8170, 8195) + "😀é" * 50)


@trick()
def huge_text(chance: random.Random) -> NoReturn:
    raise ValueError(chance.choice(["x", "é", "\n", "\ud800"]) * HUGE)


@trick()
def str_raises(chance: random.Random) -> NoReturn:
    raise type("Mute", (Exception,), {"__str__": scream, "__repr__": scream})("no")


@trick()
def str_is_no_text(chance: random.Random) -> NoReturn:
    raise type("Odd", (Exception,), {"__str__": lambda _: 1})("no")


@trick()
def str_is_slippery(chance: random.Random) -> NoReturn:
    raise type("Odd", (Exception,), {"__str__": lambda _: Slippery("no")})("no")


def _itself(error: object) -> str:
    return str(error)


@trick()
def str_recurses(chance: random.Random) -> NoReturn:
    raise type("Deep", (Exception,), {"__str__": _itself})("no")


@trick()
def base(chance: random.Random) -> NoReturn:
    own = type("Own", (BaseException,), {})
    kinds = [own, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration,
             MemoryError, RecursionError, asyncio.CancelledError, Interrupt, BadPayload, EOFError,
             TimeoutError, BrokenPipeError, AssertionError, NotImplementedError]  # fmt: skip
    raise chance.choice(kinds)(*chance.choice([(), (0,), ("x",), (None,), ("a", "b")]))


@trick()
def recursion(chance: random.Random) -> Any:
    return recursion(chance)


@trick()
def cyclic_cause(chance: random.Random) -> NoReturn:
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    one.__context__, two.__context__ = two, one
    raise one


@trick()
def own_cause(chance: random.Random) -> NoReturn:
    error = ValueError("me")
    error.__cause__ = error
    raise error


@trick()
def deep_cause(chance: random.Random) -> NoReturn:
    error = ValueError("0")
    for n in range(chance.choice([50, 500, 3000])):
        outer = ValueError(str(n))
        outer.__cause__ = error
        error = outer
    raise error


@trick()
def group(chance: random.Random) -> NoReturn:
    parts: list[Exception] = [ValueError("a"), type("M", (Exception,), {"__str__": scream})()]
    raise ExceptionGroup("several \x1b[2J\n", parts * chance.choice([1, 50]))


@trick()
def deep_group(chance: random.Random) -> NoReturn:
    error: Exception = ValueError("inner")
    for _ in range(chance.choice([5, 100, 900])):
        error = ExceptionGroup("g", [error])
    raise error


@trick()
def base_group(chance: random.Random) -> NoReturn:
    raise BaseExceptionGroup("g", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])


@trick()
def class_lies(chance: random.Random) -> NoReturn:
    said = chance.choice([Snooze, Bury, Retry, Interrupt, BadPayload, SystemExit, int, None])
    raise type("Liar", (Exception,), {"__class__": property(lambda _: said)})("no")


@trick()
def class_screams(chance: random.Random) -> NoReturn:
    raise type("Liar", (Exception,), {"__class__": property(scream)})("no")


@trick()
def attributes_scream(chance: random.Random) -> NoReturn:
    raise type("Closed", (Exception,), {"__getattribute__": scream})("no")


@trick()
def trace_screams(chance: random.Random) -> NoReturn:
    name = chance.choice(["__traceback__", "__cause__", "__context__", "__notes__", "args"])
    raise type("Closed", (Exception,), {name: property(scream)})("no")


@trick()
def trace_is_none(chance: random.Random) -> NoReturn:
    name = chance.choice(["__traceback__", "__cause__", "__notes__", "__suppress_context__"])
    value = chance.choice([1, "x", object(), [1]])
    raise type("Odd", (Exception,), {name: property(lambda _: value)})("no")


@trick()
def name_lies(chance: random.Random) -> NoReturn:
    names = [property(scream), "x" * 100_000, "\ud800\n\x1b[2J", Slippery("n"), 1, None]
    meta = type("Meta", (type,), {"__name__": chance.choice(names)})
    raise meta("Named", (Exception,), {})("no")


@trick()
def odd_notes(chance: random.Random) -> NoReturn:
    error = ValueError("noted")
    notes = [[Slippery("x")], [1, None], "text", 5, ["x" * 100_000] * 20, ["\ud800\n\x1b"]]
    error.__notes__ = chance.choice(notes)
    raise error


@trick()
def odd_syntax(chance: random.Random) -> NoReturn:
    error = SyntaxError("bad")
    for name in ("filename", "lineno", "offset", "text", "end_lineno", "end_offset", "msg"):
        if chance.random() < 0.7:
            odd = [None, -1, 10**30, "x\ny" * 900, Slippery("s"), 1.5, object(), "\ud800"]
            setattr(error, name, chance.choice(odd))
    raise error


@trick()
def odd_builtin(chance: random.Random) -> NoReturn:
    raise chance.choice([
        UnicodeDecodeError("utf-8", b"\xff" * 100_000, 0, 99_999, "no"),
        UnicodeEncodeError("x", "\ud800" * 9000, 0, 5, "no"),
        OSError(10**9, "odd", "\ud800", None, "\n"),
        KeyError("\x1b[2J" * 10, Slippery("x")), ImportError("x", name="\n", path="\ud800"),
    ])  # fmt: skip


@trick()
def late_stop(chance: random.Random) -> Any:
    def numbers() -> Any:
        yield 1
        next(iter(()))

    return list(numbers())


def delay(chance: random.Random) -> Any:
    """A wait nobody can wait for."""
    return chance.choice([float("nan"), float("inf"), -1, 10**400, "soon", None, [], True, 1e308,
                          Number(5), -0.0, object(), 5e-324])  # fmt: skip


@trick("scheduled")
def odd_snooze(chance: random.Random) -> NoReturn:
    error = Snooze(5)
    error.delay = delay(chance)
    raise error


@trick("failed")
def odd_retry(chance: random.Random) -> NoReturn:
    raise Retry(chance.choice(["x", Slippery("x"), 1, None]), delay=delay(chance))  # type: ignore[arg-type]


@trick()
def odd_bury(chance: random.Random) -> NoReturn:
    error = Bury("x")
    error.reason = chance.choice(
        [Slippery("x"), 1, None, b"x", object(), "\ud800" * 9000, "x" * 10**6]
    )
    raise error


def own_signal(kind: type[Exception], scream_too: bool) -> Exception:
    """A signal of the application's own that never called ours to be made."""
    body: dict[str, Any] = {"__init__": lambda self: None}
    if scream_too:
        body |= {"reason": property(scream), "delay": property(scream), "__str__": scream}
    made: Exception = type("Own", (kind,), body)()
    return made


@trick("scheduled")
def bare_snooze(chance: random.Random) -> NoReturn:
    raise own_signal(Snooze, chance.random() < 0.5)


@trick()
def bare_signal(chance: random.Random) -> NoReturn:
    raise own_signal(chance.choice([Retry, Bury, BadPayload]), chance.random() < 0.5)


@trick("completed")
def task_exits(chance: random.Random) -> Any:
    """In the event loop a task of the handler's own ends everything, or so it thinks."""

    async def leave() -> None:
        raise chance.choice([SystemExit(1), KeyboardInterrupt()])

    try:
        asyncio.get_running_loop().create_task(leave())
    except RuntimeError:
        return None
    return asyncio.sleep(0.01)


@trick()
def odd_result(chance: random.Random) -> Any:
    cycle: list[Any] = []
    cycle.append(cycle)
    ring: dict[str, Any] = {}
    ring["a"] = [ring]
    return chance.choice([
        set(), b"x", object(), float("nan"), float("inf"), [float("-inf")], cycle, ring,
        {(1, 2): 3},
        (n for n in range(3)), "\ud800", {"\udfff": 1}, lambda: 1, ValueError("x"), ValueError, 1j,
        10**5000, ..., NotImplemented, "x" * 70_000, ["x" * 1000] * 70, {"a": {1, 2}}, Ellipsis,
    ])  # fmt: skip


@trick()
def deep_result(chance: random.Random) -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


@trick()
def huge_result(chance: random.Random) -> Any:
    return chance.choice(["x" * HUGE, "é" * (HUGE // 2), ["a"] * (HUGE // 50)])


@trick()
def screaming_result(chance: random.Random) -> Any:
    mapping = type("D", (dict,), {"items": scream, "keys": scream, "__iter__": scream})(a=1)
    number = type("F", (float,), {"__repr__": scream, "__str__": scream})("nan")
    listing = type("L", (list,), {"__iter__": scream, "__len__": scream})([object()])
    return chance.choice([mapping, number, listing])


@trick("completed")
def odd_but_json(chance: random.Random) -> Any:
    return chance.choice([None, True, 0, "", [], {}, {1: 2, None: 3}, (1, 2), Slippery("fine"),
                          "\x00\u2028😀", -0.0, 2**70, {"a": "x" * 60_000},
                          [[[[1]]]] * 50])  # fmt: skip
