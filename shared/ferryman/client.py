"""The client: hands jobs to the store, and holds the handlers of an application.

    ferry = Ferryman()                        # settings from the environment; connects on first use
    handle = ferry.enqueue("uppercase", {"input": "hello"})
    handle.wait(timeout=10).result

Next on the way of a job: `draft`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, overload

from ferryman import config
from ferryman.batch import MOST_JOBS, from_mapping, gather, keyed
from ferryman.draft import MISSING, draft
from ferryman.errors import InvalidJob
from ferryman.handle import Handle
from ferryman.job import Draft, Job
from ferryman.origin import send
from ferryman.registry import JobType, P, R, Registry, make_options
from ferryman.store import Store


class Ferryman:
    """An application: its settings, its job types, and the way to the store."""

    def __init__(self, settings: config.Settings | None = None, store: Store | None = None) -> None:
        self._given = settings
        self.registry = Registry()
        if store is not None:
            self.__dict__["store"] = store

    @cached_property
    def settings(self) -> config.Settings:
        """The settings given, or those of the environment when first asked for."""
        return self._given or config.load()

    def configure(self, settings: config.Settings) -> None:
        """Settings for an application that was given none: those of the worker that serves it."""
        if self._given is None:
            self._given = settings

    @cached_property
    def store(self) -> Store:
        """The store; it connects when first used."""
        return Store(self.settings)

    @overload
    def job(self, name: Callable[P, R]) -> JobType[P, R]: ...
    @overload
    def job(
        self, name: str | None = None, **options: Any
    ) -> Callable[[Callable[P, R]], JobType[P, R]]: ...
    def job(self, name: Any = None, **options: Any) -> Any:
        """Register a function as a job type, under `name` or its own.

        Options: queue, max_attempts, timeout (seconds), backoff (a `Backoff` or a tenacity
        wait). A wrong one is a ConfigError here and now.
        """

        def register(function: Callable[P, R]) -> JobType[P, R]:
            job_name = name if isinstance(name, str) else function.__name__
            job_type = JobType(job_name, function, make_options(job_name, options), self.enqueue)
            self.registry.add(job_type)
            return job_type

        return register(name) if callable(name) else register

    def enqueue(self, type: str, payload: Any = MISSING, **options: Any) -> Handle:
        """Accept a job; give back its handle.

        Options: id, queue, priority ("high", "normal", "low" or 3, 2, 1), delay (seconds) or
        run_at (epoch seconds), max_attempts, timeout (seconds), backoff, tags, meta,
        idempotency_key. No queue: that of the type if it is registered here, or `default`.
        The same id or key with the same body again gives the first job.
        What a handler enqueues belongs to the trace of its own job.
        Raises InvalidJob, IdempotencyConflict, QueueFull or StoreUnavailable; then nothing
        was accepted, or (StoreUnavailable only) it is unknown and may be asked again by id.
        """
        [accepted], _ = send([self._draft(type, payload, **options)], self.store.enqueue)
        return Handle(accepted.id, self.get, accepted.is_new)

    def enqueue_many(
        self, jobs: Iterable[Mapping[str, Any]], idempotency_key: str | None = None
    ) -> list[Handle]:
        """Accept up to 1,000 jobs, all or none; give back their handles, in order.

        Each job is what `enqueue` takes, by name: {"type": "email", "payload": {...}, "delay": 5}.
        The same key with the same jobs again gives the first ones. Raises what `enqueue` does;
        InvalidJob says which job is wrong: /3/delay.
        """
        given = list(jobs)
        if len(given) > MOST_JOBS:
            raise InvalidJob.at("", f"expected at most {MOST_JOBS} jobs, got {len(given)}")
        drafts = gather(given, lambda job: from_mapping(job, self._draft))
        if idempotency_key is not None:
            drafts = keyed(drafts, idempotency_key, given)
        accepted, _ = send(drafts, self.store.enqueue) if drafts else ([], None)
        return [Handle(job.id, self.get, job.is_new) for job in accepted]

    def get(self, job_id: str) -> Job:
        """The record of a job; JobNotFound when there is none."""
        return self.store.get(job_id)

    def _draft(self, type: str, payload: Any = MISSING, **options: Any) -> Draft:
        made = draft(type, payload, **options)
        known = self.registry.get(type)
        if known is None or options.get("queue") is not None:
            return made
        # Its digest stays that of what was said: a repeat matches wherever it comes from.
        return made._replace(queue=known.defaults.queue)
