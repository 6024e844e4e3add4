"""Every state against every verb, from the table in `ferryman.lifecycle` (and in the docs)."""

from contextlib import suppress
from pathlib import Path

import pytest

from ferryman.errors import JobNotFound, WrongState
from ferryman.lifecycle import TABLE, VERBS, State, allowed

STATES = [None, *State]
PAIRS = [(state, verb.name) for state in STATES for verb in TABLE]


def bring(world, hand, state):
    """A job "a" in this state (None: no job), run by `hand` if it ever ran."""
    if state is None:
        return
    later = state in (State.SCHEDULED, State.CANCELLED)
    world.enqueue("a", delay=60.0 if later else None, digest="d")
    if state in (State.RUNNING, State.COMPLETED, State.FAILED):
        hand.claim()
    match state:
        case State.COMPLETED:
            hand.finish("a", result='"A"')
        case State.FAILED:
            hand.bury("a")
        case State.CANCELLED:
            world.store.cancel("a")
        case State.BLOCKED:  # no verb leads there yet
            world.store.command("DEL", world.store.keys.pending("default", "normal"))
            world.set("a", state="blocked")


def attempt_verb(world, hand, verb):
    """Apply the verb to "a", in every way it could be meant, as if it were allowed."""
    match verb:
        case "enqueue":
            world.enqueue("a", digest="d")
        case "claim":
            world.worker("other").turn(5, "a")
        case "finish" | "retry" | "bury" | "release" | "snooze":
            for attempt in (0, 1):
                hand.settle_by(verb, "a", attempt)
        case "recover":
            world.recover(hand.name)
        case "promote":
            world.store.promote()
        case "cancel":
            with suppress(WrongState, JobNotFound):
                world.store.cancel("a")
            for attempt in (0, 1):
                hand.cancel("a", attempt)
        case "revive":
            with suppress(WrongState, JobNotFound):
                world.store.revive("a", '"new"')
        case "expire":
            world.worker("other").turn(5, "a")
            world.store.promote()


def whereabouts(world):
    """All there is to say about jobs; not the roll, the meters, or how often one was refused."""
    keys = dict(world.snapshot().keys)
    stats = keys.pop("stats", None)
    counters = dict(stats.value) if stats else {}
    counters.pop("fenced_total", None)
    left_out = ("worker:", "workers", "reaped", "meta", "queues", "labels", "metrics:")
    return {name: key for name, key in keys.items() if not name.startswith(left_out)}, counters


@pytest.mark.parametrize(("state", "verb"), PAIRS)
def test_a_verb_leads_where_the_table_says_and_nowhere_else(world, state, verb):
    hand = world.worker()
    bring(world, hand, state)
    assert world.field("a", "state") == state
    if state and verb in ("promote", "expire"):
        world.make_due("a")
    if state and verb == "expire":
        world.set("a", expires_at=1.0)
    before = whereabouts(world)
    attempt_verb(world, hand, verb)
    after = world.field("a", "state")
    may_start = state is None if verb == "enqueue" else state is not None and allowed(verb, state)
    if may_start:
        assert after in VERBS[verb].target
        assert after != state
    else:
        assert whereabouts(world) == before


def test_every_target_of_recover_is_reached(world):
    """At once, after a wait, never again: by the number of crashes."""
    reached = []
    world.enqueue("a")
    for n in range(3):
        hand = world.worker(f"w{n}")
        hand.claim(lists=["pending:default:normal", "pending:default:alone"])
        world.recover(hand.name)
        reached.append(world.field("a", "state"))
        world.make_due("a")
        world.store.promote()
    assert reached == ["pending", "scheduled", "failed"]
    assert set(reached) == VERBS["recover"].target


def test_the_table_in_the_docs_is_the_table_in_the_program():
    page = Path(__file__).parents[2] / "docs" / "lifecycle.md"
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines()]
    told = {row[0]: row[1:4] for row in rows if row[0] in VERBS and len(row) == 5}
    assert told == {
        verb.name: [_names(verb.origin), _names(verb.target), verb.who] for verb in TABLE
    }


def _names(states):
    return ", ".join(state.value for state in State if state in states) or "-"
