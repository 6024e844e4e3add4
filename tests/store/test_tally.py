"""tally: counters by day and name, added once per job."""


def test_counters_are_added_by_day_and_name(world):
    with world.changes() as changed:
        totals = world.store.tally(
            "a", {"2026-01-01": {"click": 2, "view": 5}, "2026-01-02": {"view": 1}}
        )
    assert totals == {"2026-01-01": {"click": 2, "view": 5}, "2026-01-02": {"view": 1}}
    assert changed == {
        "tallied:a": ("1", 604_800),
        "analytics:2026-01-01": {"click": "2", "view": "5"},
        "analytics:2026-01-02": {"view": "1"},
    }
    assert world.store.tally("b", {"2026-01-01": {"click": 3}}) == {"2026-01-01": {"click": 5}}


def test_a_second_run_of_the_same_job_only_reads(world):
    world.store.tally("a", {"2026-01-01": {"click": 2}})
    with world.changes() as changed:
        assert world.store.tally("a", {"2026-01-01": {"click": 2, "view": 1}}) == {
            "2026-01-01": {"click": 2, "view": 0}
        }
    assert changed == {}
