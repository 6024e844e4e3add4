"""The store: every verb on every job.

What it reads is in `reader`, how a call gets there and back in `caller`.
Next on the way of a job: lua/<verb>.lua, then `ferryman_worker.child`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ferryman.decision import Decision
from ferryman.errors import (
    IdempotencyConflict,
    JobNotFound,
    MemoryFull,
    QueueFull,
    WrongState,
)
from ferryman.job import Draft
from ferryman.lifecycle import State
from ferryman.store.calls import Arg
from ferryman.store.reader import Reader
from ferryman.store.records import Accepted, Beat, Forgetting, Promotion, Recovery, decoded, fenced


class Store(Reader):
    """The jobs of one shard. Safe to use from many threads."""

    # The verbs of a job.

    def enqueue(self, drafts: Sequence[Draft]) -> list[Accepted]:
        """Accept jobs, all or none, at most 1,000; a repeat of an accepted one is answered as such.

        Raises QueueFull, MemoryFull, IdempotencyConflict, StoreUnavailable.
        """
        reply = self._run(self.calls.enqueue(drafts))
        match reply[0]:
            case b"OK":
                ids = [decoded(i) for i in reply[1::2]]
                return [Accepted(i, bool(n)) for i, n in zip(ids, reply[2::2], strict=True)]
            case b"MEMORY":
                raise MemoryFull("Redis is nearly full: no new jobs until some are done")
            case b"FULL":
                raise QueueFull(reply[1].decode(), reply[2])
            case _:
                twice = drafts[reply[1] - 1]
                by_key = twice.idempotency_key is not None
                raise IdempotencyConflict("Idempotency-Key" if by_key else f"id {twice.id!r}")

    def cancel(self, job_id: str) -> State:
        """Cancel a waiting job, ask a running one to stop; gives the state it was in.

        Raises JobNotFound, and WrongState for a finished job.
        """
        state = self._state(job_id, self._run(self.calls.cancel(job_id)))
        if state in (State.COMPLETED, State.FAILED, State.CANCELLED):
            raise WrongState(job_id, "cancel", state)
        return state

    def revive(self, job_id: str, payload: str | None = None) -> State:
        """Run a finished job again, with a new payload (JSON text) if given; gives its old state.

        Raises JobNotFound, and WrongState for a job that is not finished.
        """
        state = self._state(job_id, self._run(self.calls.revive(job_id, payload)))
        if state not in (State.COMPLETED, State.FAILED, State.CANCELLED):
            raise WrongState(job_id, "retry", state)
        return state

    def delete(self, job_id: str) -> State:
        """Delete a waiting or finished job, ask a running one to stop; gives its last state."""
        state = self._state(job_id, self._run(self.calls.delete(job_id)))
        if state is not State.RUNNING:
            return state
        try:
            asked = self.cancel(job_id)
        except WrongState:  # it ended in between
            return self.delete(job_id)
        return asked if asked is State.RUNNING else self.delete(job_id)

    def settle(self, worker: str, decisions: Sequence[Decision]) -> list[Decision]:
        """Settle attempts; gives back those that are no longer this worker's (fenced)."""
        settles = self.calls.settle(worker, decisions)
        return [d for call, group in settles for d in fenced(group, self._run(call))]

    def release(self, worker: str, attempts: Sequence[tuple[str, int]], alone: bool) -> list[int]:
        """Give attempts back to the head of their queues, nothing charged."""
        return list(self._run(self.calls.release(worker, attempts, alone)))

    def recover(self, worker: str, entry: str, error: str, is_silent: bool = False) -> Recovery:
        """Take a dead worker off the roll and move up to 200 of its jobs on.

        `is_silent`: its lease is over, and nobody knows since when it has been gone. What was begun
        for it in a wait after its last beat is then given back uncharged, once a job.
        """
        return Recovery(*self._run(self.calls.recover(worker, entry, error, is_silent)))

    def promote(self) -> Promotion:
        """Move up to 200 due jobs to their pending lists."""
        promoted, alone, next_in = self._run(self.calls.promote())
        return Promotion(promoted, alone, float(next_in) if next_in else None)

    def progress(self, worker: str, job_id: str, attempt: int, fraction: float, note: str) -> bool:
        """Note how far an attempt is; False when it is no longer this worker's."""
        return bool(self._run(self.calls.progress(worker, job_id, attempt, fraction, note)))

    def tally(
        self, job_id: str, counts: Mapping[str, Mapping[str, int]]
    ) -> dict[str, dict[str, int]]:
        """Add counters {day: {name: n}}, once per job id; gives the totals after it."""
        flat = [(day, name, n) for day, names in counts.items() for name, n in names.items()]
        totals: dict[str, dict[str, int]] = {}
        reply = self._run(self.calls.tally(job_id, flat))
        for (day, name, _), total in zip(flat, reply, strict=True):
            totals.setdefault(day, {})[name] = total
        return totals

    def pause(self, queue: str) -> bool:
        """Start nothing from this queue until `resume`; False when it was paused already."""
        return bool(self._run(self.calls.pause(queue)))

    def resume(self, queue: str) -> bool:
        """Serve the queue again; False when it was not paused."""
        return bool(self._run(self.calls.resume(queue)))

    # The roll of workers.

    def register(self, worker: str, queues: Sequence[str], about: Mapping[str, Arg]) -> bool:
        """Put a worker on the roll; False when its name was reaped."""
        return bool(self._run(self.calls.register(worker, queues, about)))

    def beat(
        self,
        supervisor: str,
        busy: Mapping[str, int],
        queues: Sequence[str],
        ages: Mapping[str, float] | None = None,
        instance: str = "",
        stopping: bool = False,
    ) -> Beat:
        """Renew the leases of a supervisor's workers and look around.

        `ages`: seconds since each heard Redis. `instance`: the data the caller worked on so far.
        `stopping`: it claims no more and waits for the runs to end.
        """
        call = self.calls.beat(supervisor, busy, queues, ages, instance, stopping)
        leads, alive, cancels, late, alone, now_on = self._run(call)
        names = [decoded(v) for v in cancels]
        return Beat(
            bool(leads),
            [w for w, ok in zip(busy, alive, strict=True) if not ok],
            list(zip(names[::2], names[1::2], strict=True)),
            dict(zip(map(decoded, late[::2]), map(decoded, late[1::2]), strict=True)),
            alone,
            now_on.decode(),
        )

    def sweep(self, first: int = 0) -> tuple[int, list[str]]:
        """Reaped workers whose list is not empty, among 100 names from `first`; names looked at."""
        looked, *found = self._run(self.calls.sweep(first))
        return looked, [decoded(w) for w in found]

    def forget(self) -> Forgetting:
        """While memory stays short, let up to 200 finished jobs go before their time."""
        closed, forgotten = self._run(self.calls.forget())
        return Forgetting(bool(closed), forgotten)

    def await_wake(self, seconds: float) -> bool:
        """Wait for the token that a job due before all others leaves; at most `seconds`.

        `seconds` must stay under the socket timeout given to this store.
        """
        return self._command("BLPOP", self.keys("wake"), seconds) is not None

    def _state(self, job_id: str, reply: bytes) -> State:
        """The state in a reply; what is no state is the record of no job any more."""
        try:
            return State(decoded(reply))
        except ValueError:
            raise JobNotFound(job_id) from None
