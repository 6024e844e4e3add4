"""What Redis refuses for now, provoked on real servers: "not now", never a bug, never a 500."""

import contextlib
import threading
import time
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis

from ferryman.config import Settings
from ferryman.errors import MemoryFull, StoreUnavailable
from ferryman.job import Draft
from ferryman.store import Port, Store
from ferryman_api.app import create_app


@pytest.fixture
def house(redis_kind, start_server):
    """A server of its own, jobs and a worker in it, and ways to ask it."""
    binary = "redis-server" if redis_kind == "redis" else None
    house = House(start_server(binary=binary))
    yield house
    house.close()


class House:
    def __init__(self, server):
        self.server = server
        self.raw = redis.Redis.from_url(server.url, decode_responses=True)
        self.enter(server.url)
        self.store.register("w", ["default"], {"host": "h"})
        self.store.enqueue([Draft(id=i, type="noop") for i in ("a", "b")])
        self.port.running()

    def enter(self, url):
        """Ask by this address from now on."""
        self.settings = Settings(redis_url=url)
        self.store = Store(self.settings)
        self.port = Port(self.settings, self.store.keys, "w", ["pending:none:normal"])

    def close(self):
        self.raw.close()
        self.store.close()
        self.port.reset()

    def refuses(self, *, reads=True, kind=StoreUnavailable):
        """Every way to Redis says "not now"; the API says 503 and when to come again."""
        with pytest.raises(kind):
            self.store.enqueue([Draft(id="c", type="noop")])
        listener = self.port.listeners[0]
        with pytest.raises(StoreUnavailable):
            wait(listener)
        listener.close()
        turn = self.turn()
        assert turn is None or turn.refusal or turn.jobs
        client = create_app(self.settings, self.store).test_client()
        assert_503(client.post("/jobs", json={"type": "noop"}))
        for method, path in (("GET", "/jobs"), ("GET", "/jobs/a"), ("GET", "/stats")):
            answer = client.open(path, method=method)
            if not reads:
                assert_503(answer)
            else:
                assert answer.status_code == 200
        for method, path in (("DELETE", "/jobs/b"), ("POST", "/jobs/a/retry")):
            assert client.open(path, method=method).status_code != 500

    def turn(self):
        """What a child does; None when its connection is refused."""
        with contextlib.suppress(StoreUnavailable):
            return self.port.turn([], 1, lists=["pending:default:normal"])
        return None

    def serves(self):
        """All is well again, and nothing had been changed by what was refused."""
        assert [job.id for job in self.store.get_many(["a", "c"])] == ["a"]
        self.store.enqueue([Draft(id="c", type="noop")])


def assert_503(answer):
    assert answer.status_code == 503, answer.text
    assert answer.content_type == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_replica(house):
    house.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    house.refuses()
    house.raw.execute_command("REPLICAOF", "NO", "ONE")
    house.serves()


def test_a_replica_without_its_master(house):
    house.raw.config_set("replica-serve-stale-data", "no")
    house.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    house.refuses(reads=False)
    house.raw.execute_command("REPLICAOF", "NO", "ONE")
    house.serves()


def test_too_few_replicas(house):
    house.raw.config_set("min-replicas-to-write", 1)
    house.refuses()
    house.raw.config_set("min-replicas-to-write", 0)
    house.serves()


def test_no_memory(house):
    house.raw.config_set("maxmemory", 1)
    house.refuses(kind=MemoryFull)
    house.raw.config_set("maxmemory", 0)
    house.serves()


def test_writes_are_stopped_because_a_snapshot_failed(house):
    raw = house.raw
    (house.server.data / raw.config_get("dbfilename")["dbfilename"] / "in the way").mkdir(
        parents=True
    )
    raw.config_set("save", "3600 1")
    raw.bgsave()
    until(lambda: raw.info("persistence")["rdb_last_bgsave_status"] != "ok")
    house.refuses()
    raw.config_set("save", "")
    house.serves()


def test_a_script_that_does_not_end(house):
    raw = house.raw
    limit = "busy-reply-threshold" if raw.config_get("busy-reply-threshold") else "lua-time-limit"
    raw.config_set(limit, 20)

    def forever():
        with redis.Redis.from_url(house.server.url) as client, pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=forever)
    thread.start()
    until(lambda: is_busy(raw))
    house.refuses(reads=False)
    raw.script_kill()
    thread.join()
    house.serves()


RULES = [
    ("-hset",), ("-evalsha",), ("-lmove", "-rpush"), ("resetkeys", "~other"), ("off",),
    ("-blmove", "-hmget", "-hgetall", "-lrange"),
]  # fmt: skip


@pytest.mark.parametrize("rules", RULES, ids=" ".join)
def test_a_user_who_may_not(house, rules):
    """Also what a script is not allowed, which Redis 7.0 and Valkey say in words of their own."""
    acl = "ACL", "SETUSER", "ann"
    house.raw.execute_command(*acl, "on", ">pw", "~*", "&*", "+@all")
    parts = urlsplit(house.server.url)
    if not parts.hostname:
        pytest.fail("the server has no address to log in to")
    house.enter(urlunsplit(parts._replace(netloc=f"ann:pw@{parts.hostname}:{parts.port}")))
    house.raw.execute_command(*acl, *rules)
    turn = house.turn()
    assert turn is None or turn.refusal
    keys = house.store.keys
    lists = keys.pending("default", "normal"), keys.running("w")
    assert {i for name in lists for i in house.raw.lrange(name, 0, -1)} == {"a", "b"}
    client = create_app(house.settings, house.store).test_client()
    assert_503(client.post("/jobs", json={"type": "noop"}))
    for method, path in (("GET", "/jobs/a"), ("GET", "/jobs"), ("DELETE", "/jobs/b")):
        assert client.open(path, method=method).status_code in (200, 204, 503)
    assert house.raw.exists(house.store.keys("quarantine")) == 0, "a refusal is no damage"


def test_a_wait_that_is_cut_short(house):
    listener = house.port.listeners[0]
    listener.arm()
    until(lambda: house.raw.info("clients")["blocked_clients"] == 1)
    house.raw.execute_command("CLIENT", "UNBLOCK", listener.client_id, "ERROR")
    assert "UNBLOCKED" in str(listener.take().id)
    listener.arm()
    until(lambda: house.raw.info("clients")["blocked_clients"] == 1)
    house.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert "UNBLOCKED" in str(listener.take().id)
    house.raw.execute_command("REPLICAOF", "NO", "ONE")


def test_no_room_for_another_client(house):
    house.store.close()
    house.port.reset()
    house.raw.config_set("maxclients", 1)
    with pytest.raises(StoreUnavailable):
        house.store.ping()
    house.raw.config_set("maxclients", 100)


def wait(listener):
    listener.arm()
    found = listener.take().id
    if isinstance(found, StoreUnavailable):
        raise found
    return found


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_busy(raw):
    try:
        raw.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False
