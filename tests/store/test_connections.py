"""Connections a store keeps: none is used that died, is half read, or is another process's."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ferryman.errors import FerrymanError, StoreUnavailable
from ferryman.store import Store


@pytest.fixture
def own(settings, keys):
    """A store of this test's own, with its timeout short."""
    store = Store(settings, keys, timeout=0.3)
    yield store
    store.close()


def client_id(store):
    return store.command("CLIENT", "ID")


def at_once(store, number):
    """So many calls at a time, on as many connections; their ids."""
    meeting = threading.Barrier(number)

    def call(_):
        meeting.wait(10)
        return store.command("EVAL", BUSY, 0)

    with ThreadPoolExecutor(number) as threads:
        list(threads.map(call, range(number)))


BUSY = "for _ = 1, 1000000 do end"


def test_a_connection_is_kept_for_the_next_call(own):
    assert client_id(own) == client_id(own)


def test_after_a_cut_of_all_connections_the_next_call_does_not_fail(own, raw):
    """Those kept are as dead as the one that was tried: asking again takes a new one."""
    at_once(own, 4)
    before = client_id(own)
    raw.client_kill_filter(_type="normal", skipme=True)
    assert client_id(own) > before


def test_an_answer_that_came_too_late_is_nobodys(own, raw):
    own.command("SET", own.keys("x"), "old")
    raw.execute_command("CLIENT", "PAUSE", 900, "ALL")
    with pytest.raises(StoreUnavailable):
        own.command("GET", own.keys("x"))
    raw.execute_command("PING")  # answered when the pause is over
    while True:
        try:
            assert own.command("ECHO", "mine") == b"mine"
            return
        except StoreUnavailable:  # it fails at once for a while
            pass


def test_an_error_in_the_reply_costs_no_connection(own):
    before = client_id(own)
    own.command("SET", own.keys("x"), "text")
    with pytest.raises(FerrymanError):
        own.command("LPUSH", own.keys("x"), "element")
    assert client_id(own) == before


def test_a_forked_process_has_connections_of_its_own(own):
    before = client_id(own)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, str(client_id(own)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(reader, 100)) != before
    assert client_id(own) == before, "and the parent's is whole"


def test_a_closed_store_connects_again(own):
    before = client_id(own)
    own.close()
    assert client_id(own) > before


def test_connections_may_be_lost_any_number_of_times(own):
    """redis-py's pool would make a hundred, and no more, however few are left of them."""
    for _ in range(150):
        own.close()
        own.ping()


def test_more_threads_than_redis_py_has_connections_for_are_served(settings, keys, raw):
    store = Store(settings, keys, timeout=10)
    meeting = threading.Barrier(151)

    def look(_):
        meeting.wait(10)
        return store.get_many(["a"])

    with ThreadPoolExecutor(150) as threads:
        looks = threads.map(look, range(150))
        raw.execute_command("CLIENT", "PAUSE", 1500, "ALL")
        meeting.wait(10)
        assert list(looks) == [[]] * 150
    store.close()
