"""finish: running -> completed."""

import pytest

from ferryman.decision import Finish
from ferryman.store import calls


def test_finish_completes_the_job_and_keeps_it_for_the_retention(world):
    hand = world.running("a")
    with world.changes() as changed:
        assert hand.finish("a", result='{"x":1}', seconds=0.2)
    assert changed == {
        "running:w": [],
        "finished": ["a"],
        "job:a": {
            "state": "completed",
            "completed_at": 0,
            "settled": 1,
            "result": '{"x":1}',
            "ttl": 604_800,
        },
        "stats": {
            "running": -1,
            "completed": 1,
            "processed_total": 1,
            "duration_le_0.25": 1,
            "duration_sum": 200_000,
        },
        "queue:default": {"running": -1, "completed": 1},
    }


def test_stale_finish_of_a_reclaimed_job_changes_nothing(world):
    """A worker is taken for dead, its job begins elsewhere, then the late result arrives."""
    late = world.running("a")
    world.recover()
    hand = world.worker("w2")
    [job] = hand.claim(lists=["pending:default:alone"])
    with world.changes() as changed:
        assert not late.finish("a", 1, result='"late"')
        assert not late.finish("a", job.attempt, result='"late"')
    assert changed == {"stats": {"fenced_total": 2}}
    assert hand.finish("a", job.attempt, result='"good"')
    assert world.store.get("a").result == '"good"'
    with world.changes() as changed:
        assert not late.finish("a", 1, result='"late"')
    assert changed == {"stats": {"fenced_total": 1}}


def test_finish_is_refused_after_recover(world):
    hand = world.running("a", "b")
    world.recover()
    with world.changes() as changed:
        assert not hand.finish("a")
        assert not hand.finish("b")
    assert changed == {"stats": {"fenced_total": 2}}
    assert world.list("pending:default:alone") == ["a", "b"]


def test_a_result_may_be_left_out(world):
    hand = world.running("a")
    with world.changes() as changed:
        hand.finish("a")
    assert "result" not in changed["job:a"]


def test_a_job_that_failed_before_keeps_its_history_but_not_its_error(world):
    hand = world.running("a")
    hand.retry("a")
    world.make_due("a")
    world.store.promote()
    hand.claim()
    with world.changes() as changed:
        assert hand.finish("a", 2)
    assert changed["job:a"]["error"] is None
    job = world.store.get("a")
    assert job.error is None
    assert [e["error"] for e in job.errors] == ["boom"]
    assert job.failures == 1


def test_several_finish_in_one_call(world):
    hand = world.running("a", "b", "c")
    with world.changes() as changed:
        assert hand.settle(*(Finish(i, 1, None, 0.5) for i in "abc"))
    assert changed["finished"] == ["c", "b", "a"]
    assert changed["stats"] == {
        "running": -3,
        "completed": 3,
        "processed_total": 3,
        "duration_le_0.5": 3,
        "duration_sum": 1_500_000,
    }


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [
        (0.0, "0.005"),
        (0.005, "0.005"),
        (0.0051, "0.01"),
        (2.5, "2.5"),
        (1800, "1800"),
        (1801, "inf"),
    ],
)
def test_a_duration_counts_under_the_smallest_bound_that_holds_it(world, seconds, bound):
    world.running("a").finish("a", seconds=seconds)
    assert world.store.stats().durations == {bound: 1}


def test_the_sum_of_durations_grows_by_each(world):
    hand = world.running("a", "b")
    hand.finish("a", seconds=0.25)
    hand.finish("b", seconds=1.5)
    assert world.store.stats().duration_sum == pytest.approx(1.75)


def test_finished_keeps_the_newest_and_the_records_of_the_others_go(world, monkeypatch):
    monkeypatch.setattr(calls, "FINISHED_CAP", 2)
    hand = world.running(*"abcd", idempotency_key=None)
    hand.finish("a")
    hand.finish("b")
    with world.changes() as changed:
        hand.finish("c")
        hand.finish("d")
    assert changed["finished"] == ["d", "c"]
    assert changed["job:a"] is None
    assert changed["job:b"] is None
    assert world.store.stats().states["completed"] == 4  # lifetime: what is gone still counts


def test_at_most_200_records_go_in_one_call(world, monkeypatch):
    ids = [f"j{n}" for n in range(260)]
    hand = world.running(*ids[:200])
    hand.settle(*(Finish(i, 1, None, 0.01) for i in ids[:200]))
    world.enqueue(*ids[200:])
    assert len(hand.claim(60)) == 60
    hand.settle(*(Finish(i, 1, None, 0.01) for i in ids[200:259]))
    monkeypatch.setattr(calls, "FINISHED_CAP", 10)
    hand.finish(ids[259])
    assert world.list("finished") == ids[:199:-1]


def test_dead_letters_and_revived_jobs_outlive_the_cap(world, monkeypatch):
    monkeypatch.setattr(calls, "FINISHED_CAP", 1)
    hand = world.running(*"abcd")
    hand.bury("a")
    hand.finish("b")
    world.store.revive("b")
    hand.finish("c")
    hand.finish("d")
    assert world.field("a", "state") == "failed"
    assert world.field("b", "state") == "pending"
    assert world.field("c", "state") is None


def test_a_deleted_id_enqueued_again_outlives_its_old_entry(world, monkeypatch):
    hand = world.running("a", "b")
    hand.finish("a")
    world.store.delete("a")
    world.enqueue("a")
    monkeypatch.setattr(calls, "FINISHED_CAP", 1)
    hand.finish("b")
    assert world.list("finished") == ["b"]
    assert world.field("a", "state") == "pending"


def test_a_cancelled_id_that_still_lies_in_its_list_outlives_its_old_entry(world, monkeypatch):
    hand = world.running("a", "b")
    hand.finish("a")
    world.store.delete("a")
    world.enqueue("a")
    world.store.cancel("a")
    monkeypatch.setattr(calls, "FINISHED_CAP", 1)
    hand.finish("b")
    assert world.list("finished") == ["b"]
    assert world.field("a", "state") == "cancelled"
    assert hand.claim() == []
    assert world.list("quarantine") == []


def test_a_job_that_ran_again_is_kept_for_its_newest_entry(world, monkeypatch):
    hand = world.running("a", "b")
    hand.finish("a")
    world.store.revive("a")
    hand.claim()
    hand.finish("a", 2)
    assert world.list("finished") == ["a", "a"]
    monkeypatch.setattr(calls, "FINISHED_CAP", 2)
    with world.changes() as changed:
        hand.finish("b")
    assert changed["finished"] == ["b", "a"]
    assert changed["job:a"] == {"stale": None}
    monkeypatch.setattr(calls, "FINISHED_CAP", 1)
    world.running("c", worker="w2").finish("c")
    assert world.field("a", "state") is None


def test_a_record_that_goes_takes_its_own_key_along_and_no_others(world, monkeypatch):
    """A key lives for a day, a record for a week: the key may be another job's by then."""
    world.enqueue("a", idempotency_key="old", digest="d")
    world.enqueue("b", idempotency_key="own", digest="d")
    hand = world.worker()
    hand.claim(2)
    world.store.command("DEL", world.store.keys.idem("old"))  # its day is over
    world.enqueue("new", idempotency_key="old", digest="d")
    monkeypatch.setattr(calls, "FINISHED_CAP", 0)
    with world.changes() as changed:
        hand.finish("a")
        hand.finish("b")
    assert changed["job:a"] is None
    assert changed["idem:own"] is None
    assert "idem:old" not in changed
