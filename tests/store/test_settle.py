"""What finish, retry, bury, snooze, release and a worker's cancel have in common: the fence."""

import pytest

from ferryman.decision import Bury, Cancel, Finish, Release, Retry, Snooze

SETTLES = ("finish", "retry", "bury", "snooze", "release", "cancel")

pytestmark = pytest.mark.parametrize("verb", SETTLES)

REFUSED = {"stats": {"fenced_total": 1}}


def test_another_workers_attempt_is_refused(world, verb):
    world.running("a")
    other = world.worker("other")
    with world.changes() as changed:
        assert not other.settle_by(verb, "a")
    assert changed == REFUSED


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_another_attempt_is_refused(world, verb, attempt):
    hand = world.running("a")
    world.recover()
    world.recover()
    hand = world.worker("w2")
    [job] = hand.claim(lists=["pending:default:alone"])
    assert job.attempt == 2
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a", attempt)
    assert changed == REFUSED


def test_a_job_that_was_not_begun_is_refused(world, verb):
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a", 0)
    assert changed == REFUSED


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_job_that_does_not_run_is_refused(world, verb, attempt):
    world.enqueue("a")
    hand = world.worker()
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a", attempt)
    assert changed == REFUSED


def test_a_job_that_is_not_in_the_workers_list_is_refused(world, verb):
    hand = world.running("a")
    world.store.command("DEL", world.store.keys.running("w"))
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a")
    assert changed == REFUSED


def test_a_job_that_is_gone_is_refused(world, verb):
    hand = world.running("a")
    world.store.command("DEL", world.store.keys.job("a"))
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a")
    assert changed == REFUSED


def test_a_job_key_of_another_type_is_refused(world, verb):
    hand = world.running("a")
    world.store.command("SET", world.store.keys.job("a"), "text")
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a")
    assert changed == REFUSED


def test_a_late_settle_of_a_reclaimed_job_is_refused(world, verb):
    late = world.running("a")
    world.recover()
    hand = world.worker("w2")
    hand.claim(lists=["pending:default:alone"])
    with world.changes() as changed:
        assert not late.settle_by(verb, "a")
    assert changed == REFUSED


def test_a_settle_is_refused_after_recover(world, verb):
    hand = world.running("a")
    world.recover()
    with world.changes() as changed:
        assert not hand.settle_by(verb, "a")
    assert changed == REFUSED


def test_a_repeat_of_a_settle_already_stored_is_ok_and_changes_nothing(world, verb):
    hand = world.running("a")
    assert hand.settle_by(verb, "a")
    with world.changes() as changed:
        assert hand.settle_by(verb, "a")
    assert changed == {}


def test_a_repeat_is_ok_while_the_job_runs_again_and_changes_nothing(world, verb):
    """The reply to the settle was lost; by the time it is sent again the job is on its way."""
    hand = world.running("a")
    assert hand.settle_by(verb, "a")
    if verb in ("finish", "bury", "cancel"):
        world.store.revive("a")
    world.make_due("a")
    world.store.promote()
    assert hand.claim()[0].attempt == 2
    with world.changes() as changed:
        assert hand.settle_by(verb, "a")
    assert changed == {}
    assert hand.finish("a", 2)


def test_a_repeat_is_ok_while_the_id_lies_in_the_list_again_and_changes_nothing(world, verb):
    """Delivered to the same worker, but not begun: worker and attempt are still the old ones."""
    hand = world.running("a")
    assert hand.settle_by(verb, "a")
    if verb in ("finish", "bury", "cancel"):
        world.store.revive("a")
    world.make_due("a")
    world.store.promote()
    assert hand.deliver() == "a"
    assert world.field("a", "state") == "pending"
    assert world.field("a", "worker") == "w"
    with world.changes() as changed:
        assert hand.settle_by(verb, "a")
    assert changed == {}


def test_one_refusal_in_a_call_leaves_the_others_alone(world, verb):
    world.running("a", "b", "c")
    world.worker("other")
    world.set("b", worker="other")
    decisions = {
        "finish": [Finish(i, 1, None, 0.01) for i in "abc"],
        "retry": [Retry(i, 1, 10.0, "boom", '{"attempt":1}') for i in "abc"],
        "bury": [Bury(i, 1, "boom", '{"attempt":1}') for i in "abc"],
        "snooze": [Snooze(i, 1, 10.0) for i in "abc"],
        "release": [Release(i, 1) for i in "abc"],
        "cancel": [Cancel(i, 1) for i in "abc"],
    }[verb]
    assert world.store.settle("w", decisions) == [decisions[1]]
    assert world.list("running:w") == ["b"]
    assert world.field("b", "state") == "running"
    assert world.field("a", "state") == world.field("c", "state") != "running"
    assert world.stat("fenced_total") == 1


def test_another_settle_of_an_attempt_already_settled_is_refused(world, verb):
    """OK would tell who asks that a result was stored which was not."""
    for other in sorted(SETTLES, key="release".__eq__):  # last: its job would be claimed again
        job_id = f"a-{other}"
        hand = world.running(job_id, worker=f"w-{other}")
        assert hand.settle_by(other, job_id)
        with world.changes() as changed:
            assert hand.settle_by(verb, job_id) == (verb == other)
        assert changed == ({} if verb == other else REFUSED)


def test_a_finish_is_repeated_also_after_attempts_that_ended_otherwise(world, verb):
    hand = world.running("a")
    assert hand.settle_by("snooze" if verb == "finish" else verb, "a")
    if verb in ("bury", "cancel"):
        world.store.revive("a")
    world.make_due("a")
    world.store.promote()
    assert hand.claim()[0].attempt == 2
    assert hand.finish("a", 2)
    assert hand.finish("a", 2)
    assert not hand.settle_by("retry", "a", 2)
