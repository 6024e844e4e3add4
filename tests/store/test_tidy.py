"""tidy, recount and mend by themselves: each does its repair only where it is still due."""

import pytest


def test_a_worker_on_the_roll_keeps_what_is_known_of_it(town):
    with town.world.changes() as changed:
        assert not town.audit.tidy("stray", "w")
    assert changed == {}


def test_a_key_that_leads_to_a_job_ends_one_day_and_not_now(town):
    town.redis("PERSIST", "/idem:key")
    with town.world.changes() as changed:
        assert town.audit.tidy("idem", "key", "86400")
    assert changed == {"idem:key": ("keyed", 86_400)}
    with town.world.changes() as changed:
        town.audit.tidy("idem", "key", "9")
    assert changed == {}


def test_a_key_of_the_right_type_stays_where_it_is(town):
    with town.world.changes() as changed:
        assert not town.audit.tidy("aside", "dlq", "string")
    assert changed == {}


@pytest.mark.parametrize("moved", [False, True])
def test_counters_are_set_only_when_nothing_came_between(town, moved):
    """An event that changes how many entries are dropped makes the count one of yesterday."""
    town.redis("HINCRBY", "/queue:default", "running", 7)
    report = town.inspect()
    guards = {name: n + moved for name, n in report.guards.items()}
    assert guards
    with town.world.changes() as changed:
        assert town.audit.recount(guards, report.dropped) is not moved
    if moved:
        assert changed == {}
    else:
        assert changed["queue:default"] == {"running": -7}


def test_an_id_that_should_lie_nowhere_is_looked_for_at_both_ends_of_a_long_list(town):
    """In all of a million it would hold Redis up for 20 ms; one that moves is put at an end."""
    ids = [f"j{n}" for n in range(30_000)]
    for start in range(0, len(ids), 1000):
        town.redis("RPUSH", "/pending:long:low", *ids[start : start + 1000])

    def is_missed(job_id):
        return town.audit.mend(job_id, [("list", "pending:long:low", "0")], ())

    assert not is_missed("j9999")
    assert is_missed("j15000")
    assert not is_missed("j20001")
