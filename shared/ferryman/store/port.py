"""A child's own way to Redis: one connection to settle and claim on, one listener per list."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ferryman.config import Settings
from ferryman.decision import Decision
from ferryman.errors import StoreDamaged, StoreUnavailable
from ferryman.keys import Keys
from ferryman.store.calls import Calls
from ferryman.store.connect import BLOCK_TIMEOUT, pool
from ferryman.store.records import Claimed, Turn, claimed, decoded, fenced
from ferryman.store.wire import Delivery, Listener, Wire, evalsha, packed


class Port:
    """The claim connection and the listeners of one child. For one thread."""

    def __init__(self, settings: Settings, keys: Keys, worker: str, lists: Sequence[str]) -> None:
        self._calls, self._worker, self._keys = Calls(keys, settings), worker, keys
        self._pool = pool(settings, BLOCK_TIMEOUT)
        self._wire = Wire(self._pool, keys, settings.redis_address)
        self._asked: deque[tuple[list[list[Decision]], int]] = deque()
        self.lists = list(lists)
        number = len(self.lists)
        begin = self._calls.claim(worker, number, (), (), adopt=False, newest=number)
        self._begin = packed(evalsha(keys.prefix, begin))
        self.listeners = [
            Listener(self._pool, keys, name, worker, settings.redis_address) for name in lists
        ]

    def ask(
        self,
        decisions: Sequence[Decision],
        free: int,
        ids: Sequence[str] = (),
        adopt: bool = False,
        lists: Sequence[str] | None = None,
    ) -> None:
        """Settle, begin the delivered `ids` and claim up to `free` jobs, in one round trip.

        Redis does it while the caller does something else, until `answer`. More may be asked before
        that, and is answered in turn; nothing else of this port. Raises StoreUnavailable like
        `answer`.
        """
        settles = self._calls.settle(self._worker, decisions)
        sources = self.lists if lists is None else lists
        calls = [call for call, _ in settles]
        if free > 0 or ids:
            calls.append(self._calls.claim(self._worker, free, sources, ids, adopt))
        if calls:
            self._wire.send(calls)
            self._asked.append(([group for _, group in settles], len(calls)))

    def answer(self) -> Turn | None:
        """What came of the first `ask` not answered yet; None when there is none.

        Raises StoreUnavailable when the connection failed: settle again, and reconcile.
        """
        if not self._asked:
            return None
        groups, number = self._asked.popleft()
        replies = self._wire.receive()
        turn = Turn()
        for group, reply in zip(groups, replies, strict=False):
            _settled(turn, group, reply)
        if number > len(groups):
            _begun(turn, replies[-1])
        return turn

    def turn(
        self,
        decisions: Sequence[Decision],
        free: int,
        ids: Sequence[str] = (),
        adopt: bool = False,
        lists: Sequence[str] | None = None,
    ) -> Turn:
        """`ask`, and its `answer`; no other question may be open."""
        self.ask(decisions, free, ids, adopt, lists)
        return self.answer() or Turn()

    def running(self) -> list[str]:
        """The ids in this child's own list, by Redis."""
        reply = self._wire.command("LRANGE", self._keys.running(self._worker), 0, -1)
        if isinstance(reply, StoreDamaged):
            return []  # the next claim sets aside what lies there
        if isinstance(reply, StoreUnavailable):
            raise reply
        return [decoded(i) for i in reply]

    def listen(self, free: int) -> None:
        """Wait on every list; with a free slot for each, what arrives is begun at once."""
        claim = self._begin if free >= len(self.listeners) else b""
        for listener in self.listeners:
            if not listener.armed:
                listener.arm(claim)

    def take(self, listener: Listener) -> tuple[list[str], Turn]:
        """What a wait brought: ids that are still to be begun, and jobs that are, in a `Turn`.

        Raises StoreUnavailable when the connection failed: reconcile.
        """
        return _taken(listener.take())

    def withdraw(self) -> tuple[list[str], list[Claimed]]:
        """Stop listening everywhere; the ids and the begun jobs that arrived in the meantime."""
        armed = [listener for listener in self.listeners if listener.armed]
        for listener in armed:
            self._wire.command("CLIENT", "UNBLOCK", listener.client_id)
        ids: list[str] = []
        jobs: list[Claimed] = []
        for listener in armed:
            found, turn = self.take(listener)
            ids += found
            jobs += turn.jobs
        return ids, jobs

    def check(self) -> None:
        """Raise StoreUnavailable when a listener waits for an answer that will not come.

        Call it when those that are readable have been taken.
        """
        for listener in self.listeners:
            if listener.overdue:
                raise StoreUnavailable(f"no answer to BLMOVE within {BLOCK_TIMEOUT:g} s")

    def reset(self) -> None:
        """Drop every connection after an error; each connects again when used."""
        self._asked.clear()
        self._wire.close()
        for listener in self.listeners:
            listener.close()


def _settled(turn: Turn, group: list[Decision], reply: object) -> None:
    if isinstance(reply, StoreUnavailable):
        turn.unsettled += group
        turn.refusal = str(reply)
        return
    turn.fenced += fenced(group, reply)


def _begun(turn: Turn, reply: object) -> None:
    if isinstance(reply, StoreUnavailable):
        turn.refusal = str(reply)
        return
    assert isinstance(reply, list)
    turn.lease_lost = not reply[0]
    if not turn.lease_lost:
        turn.more = bool(reply[1])
        turn.jobs = [claimed(row) for row in reply[2:]]


def _taken(delivery: Delivery) -> tuple[list[str], Turn]:
    turn = Turn()
    if delivery.claim is not None:
        _begun(turn, delivery.claim)
    found = delivery.id
    # A claim that was refused (its script was flushed, say) leaves the id to the next one.
    turn.refusal = str(found) if isinstance(found, StoreUnavailable) else None
    begun = {job.id for job in turn.jobs}
    return [found] if isinstance(found, str) and found not in begun else [], turn
