"""progress: what a running attempt says of itself."""

import pytest


def test_progress_is_on_the_record(world):
    world.running("a")
    with world.changes() as changed:
        assert world.store.progress("w", "a", 1, 0.5, "halfway")
    assert changed == {"job:a": {"progress": "0.5", "progress_note": "halfway", "updated_at": 0}}
    job = world.store.get("a")
    assert (job.progress, job.progress_note) == (0.5, "halfway")


@pytest.mark.parametrize(
    ("worker", "job_id", "attempt"),
    [("other", "a", 1), ("w", "a", 2), ("w", "b", 0), ("w", "c", 1)],
)
def test_progress_of_anything_but_the_running_attempt_is_refused(world, worker, job_id, attempt):
    world.running("a")
    world.enqueue("b")
    with world.changes() as changed:
        assert not world.store.progress(worker, job_id, attempt, 0.5, "")
    assert changed == {}


def test_progress_after_the_end_is_refused(world):
    world.running("a").finish("a")
    with world.changes() as changed:
        assert not world.store.progress("w", "a", 1, 0.5, "")
    assert changed == {}
