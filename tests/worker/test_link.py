"""Messages between a supervisor and what it forked."""

from __future__ import annotations

import select
import threading
import time

from ferryman_worker.link import Link, Message


def received(link: Link, number: int) -> list[Message]:
    """`number` messages; fewer when none comes for five seconds."""
    messages: list[Message] = []
    end = time.monotonic() + 5
    while len(messages) < number and not link.closed and time.monotonic() < end:
        if select.select([link], [], [], 0.1)[0]:
            messages += link.receive()
    return messages


def test_messages_arrive_whole_and_in_order() -> None:
    one, two = Link.pair()
    one.send("stop", drain=8.0)
    one.send("cancel", id='a"\n')
    assert received(two, 2) == [
        {"kind": "stop", "drain": 8.0},
        {"kind": "cancel", "id": 'a"\n'},
    ]
    two.send("named", worker="w")
    assert received(one, 1) == [{"kind": "named", "worker": "w"}]


def test_a_message_that_comes_in_pieces_is_put_together() -> None:
    one, two = Link.pair()
    one._sock.sendall(b'{"kind":"sto')
    assert two.receive() == []
    one._sock.sendall(b'p"}\n{"kind":')
    assert two.receive() == [{"kind": "stop"}]
    one._sock.sendall(b'"go"}\n')
    assert two.receive() == [{"kind": "go"}]


def test_a_message_larger_than_one_read_arrives() -> None:
    one, two = Link.pair()
    types = {f"type-{i}": {"max_attempts": i} for i in range(3000)}
    one.send("types", types=types)
    assert received(two, 1) == [{"kind": "types", "types": types}]


def test_what_was_said_before_the_end_is_still_heard() -> None:
    one, two = Link.pair()
    one.send("named", worker="w")
    one.close()
    assert received(two, 1) == [{"kind": "named", "worker": "w"}]
    assert not two.closed
    assert two.receive() == []
    assert two.closed


def test_sending_to_somebody_gone_is_noticed_and_does_no_harm() -> None:
    one, two = Link.pair()
    two.close()
    one.send("stop", drain=0)
    one.send("stop", drain=0)
    assert one.closed


def test_asking_without_waiting_for_news_that_is_not_there_is_no_end() -> None:
    one, two = Link.pair()
    assert two.receive(wait=False) == []
    assert not two.closed
    one.send("named", worker="w")
    assert two.receive(wait=False) == [{"kind": "named", "worker": "w"}]


def test_what_is_told_again_anyway_never_waits_for_a_peer_that_reads_nothing() -> None:
    """The supervisor repeats a cancel every second; a child that hangs must not hang it too."""
    one, two = Link.pair()
    done = threading.Event()

    def tell() -> None:
        for n in range(1000):
            one.send("cancel", wait=False, id=str(n))
        one.send("stop", drain=8.0)
        done.set()

    threading.Thread(target=tell, daemon=True).start()
    assert done.wait(10.0)
    told = received(two, 2)
    assert told[0] == {"kind": "cancel", "id": "0"}
    assert told[-1] == {"kind": "stop", "drain": 8.0}, "there is room for what is told once"
