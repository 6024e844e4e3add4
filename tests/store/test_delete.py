"""delete: a waiting or finished job is gone at once."""

import pytest

from ferryman.config import Settings
from ferryman.errors import JobNotFound
from ferryman.lifecycle import State
from ferryman.store import Store


def test_a_pending_job_is_gone_and_its_id_is_left_behind_a_stub(world):
    world.enqueue("a", "b")
    with world.changes() as changed:
        assert world.store.delete("a") is State.PENDING
    assert changed == {
        "job:a": {
            "state": "cancelled",
            "deleted": 1,
            "dropped": 1,
            "lies_in": "default:normal",
            "type": None,
            "payload": None,
            "created_at": None,
        },
        "stats": {"pending": -1, "cancelled": 1, "deleted_total": 1},
        "queue:default": {"pending": -1, "cancelled": 1},
    }
    with pytest.raises(JobNotFound):
        world.store.get("a")
    assert world.store.get_many(["a", "b"])[0].id == "b"
    assert world.store.facets(["a"]) == [(None, None, None)]


def test_a_claim_clears_the_stub_away(world):
    world.enqueue("a", "b")
    world.store.delete("a")
    with world.changes() as changed:
        assert [job.id for job in world.worker().claim(5)] == ["b"]
    assert changed["job:a"] is None
    assert changed["pending:default:normal"] == []
    assert "finished" not in changed


def test_a_scheduled_job_is_gone(world):
    world.enqueue("a", delay=60.0)
    with world.changes() as changed:
        assert world.store.delete("a") is State.SCHEDULED
    assert changed == {
        "scheduled": {},
        "job:a": None,
        "stats": {"scheduled": -1, "cancelled": 1, "deleted_total": 1},
        "queue:default": {"scheduled": -1, "cancelled": 1},
    }


def test_a_dead_letter_is_gone_and_still_counts_as_failed(world):
    world.running("a").bury("a")
    with world.changes() as changed:
        assert world.store.delete("a") is State.FAILED
    assert changed == {"dlq": [], "job:a": None, "stats": {"deleted_total": 1}}
    stats = world.store.stats()
    assert (stats.states["failed"], stats.dlq_size, stats.total) == (1, 0, 1)


@pytest.mark.parametrize("verb", ["finish", "cancel"])
def test_a_finished_job_is_gone_and_still_counts(world, verb):
    world.running("a").settle_by(verb, "a")
    with world.changes() as changed:
        world.store.delete("a")
    assert changed == {"job:a": None, "stats": {"deleted_total": 1}}


def test_a_cancelled_job_whose_id_still_lies_in_a_list_leaves_a_stub(world):
    world.enqueue("a")
    world.store.cancel("a")
    assert world.store.delete("a") is State.CANCELLED
    assert world.field("a", "deleted") == "1"
    assert world.worker().claim() == []
    assert world.field("a", "state") is None


def test_a_running_job_is_asked_to_stop(world):
    world.running("a")
    with world.changes() as changed:
        assert world.store.delete("a") is State.RUNNING
    assert changed == {"cancel:w": ["a"], "job:a": {"cancel_requested": 0}}


def test_a_second_delete_does_not_find_it(world):
    world.enqueue("a")
    world.enqueue("b", delay=60.0)
    for job_id in "ab":
        world.store.delete(job_id)
    with world.changes() as changed:
        for job_id in "ab":
            with pytest.raises(JobNotFound):
                world.store.delete(job_id)
    assert changed == {}


def test_its_idempotency_key_is_free_again(world):
    world.enqueue("a", idempotency_key="k", digest="d")
    with world.changes() as changed:
        world.store.delete("a")
    assert changed["idem:k"] is None
    assert world.enqueue("b", idempotency_key="k", digest="other") == [("b", True)]


def test_a_key_that_is_another_jobs_by_now_stays(world):
    world.enqueue("a", idempotency_key="k", digest="d")
    world.store.command("DEL", world.store.keys.idem("k"))  # its day is over
    world.enqueue("b", idempotency_key="k", digest="d")
    world.store.delete("a")
    assert world.enqueue("c", idempotency_key="k", digest="d") == [("b", False)]


# The same id again, while the old entry still lies in its list.


def test_a_deleted_id_enqueued_again_runs_once(world):
    world.enqueue("a", "b", digest="d")
    world.store.delete("a")
    assert world.enqueue("a", payload='"new"', digest="other") == [("a", True)]
    jobs = world.worker().claim(5)
    assert [(job.id, job.payload) for job in jobs] == [("b", "{}"), ("a", '"new"')]
    assert world.worker("w2").claim(5) == []


def test_a_deleted_id_enqueued_for_later_runs_once(world):
    world.enqueue("a")
    world.store.delete("a")
    world.enqueue("a", delay=60.0)
    hand = world.worker()
    assert hand.claim(5) == []
    assert world.field("a", "state") == "scheduled"
    world.make_due("a")
    world.store.promote()
    assert [job.id for job in hand.claim(5)] == ["a"]


def test_a_deleted_id_enqueued_again_while_a_worker_holds_its_entry_runs_once(world):
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    world.store.delete("a")
    world.enqueue("a")
    assert world.field("a", "dropped") == "1"
    assert hand.begin("a") == []
    assert [job.id for job in hand.claim(5)] == ["a"]
    assert world.list("running:w") == ["a"]


def test_a_deleted_id_with_two_entries_left_runs_once(world):
    """The first was delivered when the job was deleted, the second lies in its list."""
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    world.store.delete("a")
    world.enqueue("a", priority="high")
    world.store.delete("a")
    assert world.field("a", "dropped") == "2"
    world.enqueue("a", priority="low")  # this takes the entry in the list away
    assert world.field("a", "dropped") == "1"
    world.store.cancel("a")
    assert world.field("a", "dropped") == "2"
    assert hand.begin("a") == []
    assert world.field("a", "state") == "cancelled"  # its record outlives the entries
    assert world.snapshot().keys["job:a"].expires is None
    world.store.revive("a")
    assert [job.id for job in hand.claim(5)] == ["a"]


def test_a_deleted_id_enqueued_to_another_queue_lies_only_there(world):
    """Else a worker of the old queue would run it, or nobody while that queue is paused."""
    world.enqueue("a", "b", queue="old")
    world.store.delete("a")
    world.store.pause("old")
    with world.changes() as changed:
        world.enqueue("a", queue="new", priority="high")
    assert changed["held:old:normal"] == ["b"]
    assert changed["pending:new:high"] == ["a"]
    assert changed["job:a"].items() >= {"state": "pending", "dropped": None}.items()
    assert [job.id for job in world.worker("w", ("new",)).claim(5)] == ["a"]


def test_delete_of_a_pending_job_does_not_search_its_list(start_server, make_world):
    """By Redis' own count of the calls: no LREM, however long the list is."""
    world = make_world(Store(Settings(redis_url=start_server().url)))
    world.enqueue("a", "b")
    world.store.delete("a")
    world.store.cancel("b")
    world.store.delete("b")
    assert _calls(world.store, "lrem") == 0


def _calls(store, command):
    lines = store.command("INFO", "commandstats").decode().splitlines()
    found = [line for line in lines if line.startswith(f"cmdstat_{command}:")]
    return int(found[0].split("calls=")[1].split(",")[0]) if found else 0
