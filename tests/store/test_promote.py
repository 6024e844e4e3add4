"""promote: scheduled -> pending, when the time has come."""

import pytest


def test_a_due_job_goes_to_the_tail_of_its_level(world):
    world.enqueue("a", delay=60.0, priority="high")
    world.enqueue("b", priority="high")
    world.make_due("a")
    with world.changes() as changed:
        assert world.store.promote() == (1, 0, None)
    assert changed == {
        "scheduled": {},
        "pending:default:high": ["b", "a"],
        "job:a": {"state": "pending", "updated_at": 0, "ready_at": 0},
        "stats": {"scheduled": -1, "pending": 1, "promoted_total": 1},
        "queue:default": {"scheduled": -1, "pending": 1},
    }


def test_a_job_that_is_not_due_stays_and_says_when(world):
    world.enqueue("a", delay=60.0)
    with world.changes() as changed:
        promoted, alone, next_in = world.store.promote()
    assert (promoted, alone) == (0, 0)
    assert next_in == pytest.approx(60, abs=5)
    assert changed == {}


def test_due_jobs_are_promoted_in_the_order_of_their_times(world):
    for n, job_id in enumerate("cab"):
        world.enqueue(job_id, delay=60.0)
        world.store.command("ZADD", world.store.keys("scheduled"), str(n), job_id)
    world.store.promote()
    assert world.list("pending:default:normal") == ["c", "a", "b"]


def test_a_call_promotes_at_most_200(world):
    ids = [f"j{n:03}" for n in range(250)]
    world.enqueue(*ids, delay=60.0)
    world.make_due(*ids)
    promoted, _, next_in = world.store.promote()
    assert promoted == 200
    assert next_in < 0  # more is due already
    assert world.store.promote().promoted == 50
    assert world.list("pending:default:normal") == ids


def test_a_job_of_a_paused_queue_is_held(world):
    world.enqueue("a", delay=60.0)
    world.store.pause("default")
    world.make_due("a")
    world.store.promote()
    assert world.list("held:default:normal") == ["a"]
    assert world.field("a", "state") == "pending"


def test_a_second_promote_finds_nothing_to_do(world):
    world.enqueue("a", delay=60.0)
    world.make_due("a")
    world.store.promote()
    with world.changes() as changed:
        assert world.store.promote() == (0, 0, None)
    assert changed == {}


@pytest.mark.parametrize(
    ("element", "reason"), [("ghost", "no such job"), ("p", "is pending"), ("odd", "not a hash")]
)
def test_foreign_elements_are_set_aside(world, element, reason):
    world.enqueue("p")
    world.store.command("SET", world.store.keys.job("odd"), "text")
    world.store.command("ZADD", world.store.keys("scheduled"), "1", element)
    with world.changes() as changed:
        world.store.promote()
    assert changed == {
        "scheduled": {},
        "quarantine": [{"at": 0, "from": "scheduled", "reason": reason, "element": element}],
        "stats": {"quarantined_total": 1},
    }


def test_the_token_that_wakes_upkeep_is_taken_once(world):
    world.enqueue("a", delay=60.0)
    assert world.store.await_wake(0.1)
    assert not world.store.await_wake(0.01)
