"""What a run of the named tests says about a guard that was taken out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

RED = frozenset({"assertion", "error"})
"""Verdicts that show teeth: the test's own part failed."""

Note = Mapping[str, str]

_BROKEN = (
    "nonexistent global variable",
    "attempt to call a nil value",
    "Error compiling script",
    "NameError",
    "ImportError",
    "SyntaxError",
    "UnboundLocalError",
)
"""Words of a program that does not run any more: that proves nothing about the guard."""


def whole(notes: list[Note], code: int | None) -> list[Note]:
    """The notes of a pytest that ended with `code`, each test with its end.

    One that began and did not end took its process with it, as a child's fault does (an error), or
    was cut short by us (`code` None: a timeout).
    """
    ended = [note for note in notes if note["outcome"] != "begun"]
    begun = [note["test"] for note in notes if note["outcome"] == "begun"]
    if not begun or any(note["test"] == begun[-1] for note in ended):
        return ended
    died = ("Failed", "Timeout") if code is None else ("Died", f"exit status {code}")
    last = {"test": begun[-1], "when": "call", "outcome": "failed"}
    return [*ended, last | dict(zip(("kind", "text"), died, strict=True))]


def of_test(test: str, notes: Iterable[Note]) -> str:
    """How `path::name` ended, the reddest of its cases.

    "assertion" or "error" (another exception in the test's own part) are red; "green", "missing"
    (not run: its file did not import), "setup", "timeout" and "broken" are not.
    """
    ends = {_end(note) for note in notes if note["test"].partition("[")[0] == test}
    order = ("broken", "assertion", "error", "timeout", "setup", "green")
    return next((end for end in order if end in ends), "missing")


def of_guard(tests: Iterable[str], notes: list[Note]) -> str:
    """The verdict on a guard: red only when every named test is."""
    ends = [of_test(test, notes) for test in tests]
    weak = [end for end in ends if end not in RED]
    return weak[0] if weak else ends[0]


def _end(note: Note) -> str:
    if note["outcome"] == "passed":
        return "green"
    said = f"{note['kind']}: {note['text']}"
    if any(word in said for word in _BROKEN):
        return "broken"
    if note["when"] != "call":
        return "setup"
    if note["kind"] == "Failed" and note["text"].startswith("Timeout"):
        return "timeout"
    return "assertion" if note["kind"] in {"AssertionError", "Failed"} else "error"
