"""recover: a worker is gone; what it held moves on."""

import pytest

ALONE = "pending:default:alone"


def crash(world, name):
    """A worker begins what lies in the list for running alone, and dies."""
    hand = world.worker(name)
    assert hand.claim(lists=[ALONE])
    return world.recover(name)


def test_the_first_crash_runs_again_at_once_and_alone(world):
    world.running("a")
    with world.changes() as changed:
        assert world.recover() == (0, 1, 0, 1)
    assert changed == {
        "running:w": [],
        "workers": {},
        "worker:w": None,
        "reaped": {"w": 0},
        ALONE: ["a"],
        "job:a": {
            "state": "pending",
            "crashes": 1,
            "alone": 1,
            "error": "gone",
            "errors": [{"attempt": 1, "worker": "w", "error": "gone", "failed_at": 0}],
            "updated_at": 0,
            "ready_at": 0,
        },
        "stats": {"running": -1, "pending": 1, "recovered_total": 1},
        "queue:default": {"running": -1, "pending": 1},
    }


def test_the_second_crash_waits_five_seconds(world):
    world.running("a")
    world.recover()
    world.worker("w2").claim(lists=[ALONE])
    with world.changes() as changed:
        assert world.recover("w2") == (0, 1, 0, 0)
    assert changed["scheduled"] == {"a": 5}
    assert changed["job:a"]["crashes"] == 2
    assert changed["job:a"]["run_at"] == 5
    assert changed["stats"] == {"running": -1, "scheduled": 1, "recovered_total": 1}
    world.make_due("a")
    assert world.store.promote().alone == 1
    assert world.list(ALONE) == ["a"]


def test_the_third_crash_is_buried(world):
    world.running("a")
    world.recover()
    crash(world, "w2")
    world.make_due("a")
    world.store.promote()
    world.worker("w3").claim(lists=[ALONE])
    with world.changes() as changed:
        assert world.recover("w3") == (0, 0, 1, 0)
    assert changed["dlq"] == ["a"]
    job = changed["job:a"]
    assert (job["state"], job["crashes"], job["completed_at"]) == ("failed", 3, 0)
    assert changed["stats"] == {"running": -1, "failed": 1, "failed_total": 1, "dlq_total": 1}
    assert world.field("a", "failures") is None  # a crash is not a failure of the job's code
    assert len(world.store.get("a").errors) == 3


def test_what_was_not_begun_returns_to_the_head_uncharged(world):
    hand = world.worker()
    world.enqueue(*"abcd")
    for _ in range(3):
        hand.deliver()
    with world.changes() as changed:
        assert world.recover() == (0, 0, 0, 0)
    assert changed == {
        "running:w": [],
        "workers": {},
        "worker:w": None,
        "reaped": {"w": 0},
        "pending:default:normal": ["a", "b", "c", "d"],
        "stats": {"returned_total": 3},
    }


def test_only_what_was_begun_is_charged(world):
    hand = world.running("a")
    world.enqueue("b")
    hand.deliver()
    world.recover()
    assert world.list(ALONE) == ["a"]
    assert world.list("pending:default:normal") == ["b"]
    assert world.field("b", "crashes") is None


def test_crashed_jobs_lie_at_the_head_in_the_order_of_their_claim(world):
    world.running("z", worker="first")
    world.recover("first")
    world.running("a", "b", "c")
    world.recover()
    assert world.list(ALONE) == ["a", "b", "c", "z"]


def test_jobs_of_a_paused_queue_are_held(world):
    hand = world.running("a")
    world.enqueue("b", "c")
    hand.deliver()
    world.store.pause("default")
    world.recover()
    assert world.list("held:default:alone") == ["a"]
    assert world.list("held:default:normal") == ["b", "c"]


def test_a_job_asked_to_stop_is_cancelled(world):
    world.running("a")
    world.store.cancel("a")
    with world.changes() as changed:
        assert world.recover() == (0, 0, 0, 0)
    assert changed["job:a"]["state"] == "cancelled"
    assert changed["finished"] == ["a"]
    assert changed["cancel:w"] == []
    assert changed["stats"] == {"running": -1, "cancelled": 1}


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_dropped_id_vanishes(world, verb):
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    getattr(world.store, verb)("a")
    with world.changes() as changed:
        assert world.recover() == (0, 0, 0, 0)
    assert changed["stats"] == {"dropped_total": 1}
    if verb == "cancel":
        assert changed["job:a"] == {"dropped": None, "ttl": 604_800}
        assert changed["finished"] == ["a"]
    else:
        assert changed["job:a"] is None


def test_foreign_elements_are_set_aside(world):
    world.running("a", worker="other")
    world.worker()
    world.store.command("RPUSH", world.store.keys.running("w"), "ghost", "a")
    with world.changes() as changed:
        world.recover()
    assert [(q["element"], q["reason"]) for q in changed["quarantine"]] == [
        ("ghost", "no such job"),
        ("a", "in a list, but running"),
    ]
    assert "job:a" not in changed
    assert "running:other" not in changed


def test_a_record_that_is_no_hash_is_set_aside_and_the_others_move_on(world):
    world.running("a", "b", "c")
    world.store.command("SET", world.store.keys.job("b"), "text")
    with world.changes() as changed:
        assert world.recover().recovered == 2
    [kept] = changed["quarantine"]
    assert (kept["element"], kept["reason"]) == ("b", "not a hash")
    assert world.list(ALONE) == ["a", "c"]


def test_a_record_that_lost_its_attempt_moves_on(world):
    world.running("a", "b")
    world.store.command("HDEL", world.store.keys.job("a"), "attempt")
    assert world.recover().recovered == 2
    assert world.list(ALONE) == ["a", "b"]
    assert [e["attempt"] for e in world.store.get("a").errors] == [0]


def test_a_call_moves_at_most_200_and_says_how_many_are_left(world):
    ids = [f"j{n}" for n in range(250)]
    hand = world.worker()
    world.enqueue(*ids)
    for _ in ids:
        hand.deliver()
    assert world.recover().left == 50
    assert world.recover().left == 0
    assert world.list("pending:default:normal") == ids


def test_a_second_recover_finds_nothing_to_do(world):
    world.running("a")
    world.recover()
    with world.changes() as changed:
        assert world.recover() == (0, 0, 0, 0)
    assert set(changed) <= {"reaped"}


def test_the_name_of_a_recovered_worker_is_never_used_again(world):
    world.worker()
    world.recover()
    with world.changes() as changed:
        assert not world.store.register("w", ["default"], {})
    assert changed == {}


def test_recover_leaves_a_settled_job_alone(world):
    hand = world.running("a", "b")
    hand.finish("a")
    with world.changes() as changed:
        assert world.recover().recovered == 1
    assert "job:a" not in changed


def test_errors_of_crashes_and_of_failures_are_one_history_of_ten(world):
    hand = world.running("a")
    for attempt in range(1, 11):
        hand.retry("a", attempt, delay=0.0)
        world.store.promote()
        hand.claim()
    world.recover()
    errors = world.store.get("a").errors
    assert len(errors) == 10
    assert [e["error"] for e in errors[-2:]] == ["boom", "gone"]


def test_what_was_begun_for_a_silent_worker_unheard_goes_back_to_the_head_uncharged(world):
    world.begun_behind_a_wait("a")
    world.enqueue("b")
    with world.changes() as changed:
        assert world.recover(is_silent=True) == (0, 1, 0, 0)
    assert changed == {
        "running:w": [],
        "workers": {},
        "worker:w": None,
        "reaped": {"w": 0},
        "pending:default:normal": ["a", "b"],
        "job:a": {"state": "pending", "updated_at": 0, "ready_at": 0},
        "stats": {"running": -1, "pending": 1, "recovered_total": 1},
        "queue:default": {"running": -1, "pending": 1},
    }
    assert world.worker("other").claim()[0].attempt == 2


def test_a_job_is_excused_once(world):
    """Else one that ends its machine would never be charged."""
    world.begun_behind_a_wait("a")
    world.recover(is_silent=True)
    world.begun_behind_a_wait("a", "again")
    assert world.recover("again", is_silent=True).recovered == 1
    assert world.field("a", "crashes") == "1"


def test_a_job_begun_in_a_wait_is_charged_when_its_worker_is_known_to_have_died(world):
    world.begun_behind_a_wait("a")
    assert world.recover().recovered == 1
    assert world.field("a", "crashes") == "1"


def test_a_job_begun_in_a_wait_is_charged_when_its_worker_was_heard_of_since(world):
    world.begun_behind_a_wait("a")
    world.store.beat("supervisor", {"w": 1}, ["default"])
    assert world.recover(is_silent=True).recovered == 1


def test_a_job_begun_by_a_claim_is_charged_to_a_silent_worker(world):
    world.running("a")
    assert world.recover(is_silent=True).recovered == 1


def test_a_job_that_was_to_stop_is_cancelled_though_unheard(world):
    world.begun_behind_a_wait("a")
    world.store.cancel("a")
    world.recover(is_silent=True)
    assert world.field("a", "state") == "cancelled"
