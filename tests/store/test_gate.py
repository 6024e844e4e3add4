"""The memory gate: no new jobs before memory is full, so that those accepted have room to end."""

import pytest

from ferryman.config import Settings
from ferryman.errors import MemoryFull, QueueFull
from ferryman.job import Draft
from ferryman.store import Store, calls


@pytest.fixture
def house(redis_kind, start_server, make_world):
    """A world on a server of its own, whose memory can be made short."""
    server = start_server(binary="redis-server" if redis_kind == "redis" else None)
    world = make_world(Store(Settings(redis_url=server.url)))
    # A hundredth of memory has to be more than what connections take and give back.
    world.store.command("SETRANGE", "ballast", str(64 << 20), "x")

    def use(part):
        """Let so much of `maxmemory` be in use."""
        info = world.store.command("INFO", "memory").decode()
        [used] = [line for line in info.splitlines() if line.startswith("used_memory:")]
        limit = int(int(used.split(":")[1]) / part) if part else 0
        world.store.command("CONFIG", "SET", "maxmemory", str(limit))
        beat(world)

    world.use = use
    return world


def beat(world, supervisor="sup"):
    return world.store.beat(supervisor, {}, ["default"])


def meta(world, name):
    return world.store.command("HGET", world.store.keys("meta"), name)


def test_the_gate_closes_at_nine_tenths_and_opens_below_85_percent(house):
    gate = []
    for part in (0.5, 0.88, 0.92, 0.87, 0.82, 0.88):
        house.use(part)
        gate.append(house.store.stats().memory_gate)
    assert gate == [False, False, True, True, False, False]
    house.use(0.95)
    house.use(None)
    assert not house.store.stats().memory_gate, "without maxmemory there is no gate"


def test_a_closed_gate_refuses_new_jobs_counts_them_and_writes_nothing_else(house):
    house.enqueue("a")
    house.use(0.95)
    with house.changes() as changed, pytest.raises(MemoryFull) as refused:
        house.enqueue("b", "c")
    assert refused.value.retry_after == 5
    assert changed == {"stats": {"refused_total": 2, "refused_memory_total": 2}}
    house.use(0.5)
    house.enqueue("b", "c")


def test_a_repeat_of_an_accepted_job_is_answered_behind_a_closed_gate(house):
    draft = Draft(id="a", type="noop", idempotency_key="k", digest="d")
    house.store.enqueue([draft])
    house.use(0.95)
    [again] = house.store.enqueue([draft])
    assert not again.is_new
    assert house.stat("refused_total") == 0


def test_the_backlog_drains_behind_a_closed_gate(house):
    house.enqueue(*"abc")
    house.enqueue("later", delay=60.0)
    house.use(0.95)
    hand = house.worker()
    assert [job.id for job in hand.claim(2)] == ["a", "b"]
    assert hand.finish("a")
    assert hand.retry("b")
    house.make_due("b", "later")
    assert house.store.promote().promoted == 2


def test_only_the_leader_moves_the_gate(house):
    beat(house, "other")
    house.use(0.95)
    assert not house.store.stats().memory_gate
    house.store.command("DEL", house.store.keys("upkeep"))
    beat(house)
    assert house.store.stats().memory_gate


@pytest.mark.parametrize("later", [-61, 61])
def test_a_gate_nobody_looks_after_opens_in_a_minute(house, later):
    """All workers gone: then nothing else may be waited for than what Redis itself refuses. Nor
    may a gate seen in a time to come, after the server's clock was set back."""
    house.use(0.95)
    seen = float(meta(house, "memory_seen"))
    house.store.command("HSET", house.store.keys("meta"), "memory_seen", str(seen + later))
    house.enqueue("a")


def test_a_full_queue_is_counted_as_a_refusal_too(house):
    house.store.settings = Settings(redis_url=house.store.address, max_pending=1)
    house.store.calls = calls.Calls(house.store.keys, house.store.settings)
    house.enqueue("a")
    with house.changes() as changed, pytest.raises(QueueFull):
        house.enqueue("b")
    assert changed == {"stats": {"refused_total": 1}}


def finished(world, number):
    """So many jobs that ended well, a day ago; the last ones lie left in `finished`."""
    ids = [f"f{n}" for n in range(number)]
    for part in (ids[i : i + 100] for i in range(0, number, 100)):
        world.store.enqueue(
            [Draft(id=i, type="noop", idempotency_key=f"k{i}", digest="d") for i in part]
        )
    hand = world.worker()
    while jobs := hand.claim(100):
        for job in jobs:
            assert hand.finish(job.id)
            world.set(job.id, completed_at=float(world.field(job.id, "completed_at")) - 86_400)
    return ids


def press(world):
    """The gate has been closed for longer than 10 s."""
    world.use(0.95)
    since = float(meta(world, "memory_gate"))
    world.store.command("HSET", world.store.keys("meta"), "memory_gate", str(since - 11))


def test_finished_jobs_are_forgotten_oldest_first_while_memory_stays_short(house):
    ids = finished(house, 1250)
    house.use(0.95)
    assert house.store.forget() == (True, 0), "not in the first 10 s"
    press(house)
    assert house.store.forget() == (True, 200)
    assert house.list("finished")[-1] == ids[200]
    press(house)
    assert house.store.forget() == (True, 50)
    assert house.store.forget() == (True, 0), "the newest 1,000 stay"
    assert house.store.get_many([ids[0], ids[249], ids[250]])[0].id == ids[250]
    assert house.stat("forgotten_total") == 250
    gone = [house.store.command("EXISTS", house.store.keys.idem(f"k{i}")) for i in ids[:251]]
    assert gone == [0] * 250 + [1]
    house.use(0.5)
    assert house.store.forget() == (False, 0)


def test_what_ended_a_moment_ago_is_kept(house, monkeypatch):
    monkeypatch.setattr(calls, "KEEP_NEWEST", 0)
    ids = finished(house, 3)
    house.set(ids[1], completed_at=float(house.field(ids[1], "completed_at")) + 86_400)
    press(house)
    assert house.store.forget() == (True, 1)
    assert house.list("finished") == [ids[2], ids[1]]


def test_a_revived_job_is_not_forgotten_with_its_former_end(house, monkeypatch):
    monkeypatch.setattr(calls, "KEEP_NEWEST", 0)
    ids = finished(house, 2)
    house.store.revive(ids[0])
    press(house)
    assert house.store.forget() == (True, 1)
    assert house.list("finished") == []
    assert [job.id for job in house.store.get_many(ids)] == [ids[0]]
    assert [job.id for job in house.hands[0].claim()] == [ids[0]]


def test_memory_that_is_free_again_forgets_nothing(house, monkeypatch):
    monkeypatch.setattr(calls, "KEEP_NEWEST", 0)
    finished(house, 2)
    press(house)
    house.store.command("CONFIG", "SET", "maxmemory", "0")
    assert house.store.forget() == (False, 0)
    assert len(house.list("finished")) == 2
