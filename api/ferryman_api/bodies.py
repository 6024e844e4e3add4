"""Requests and answers as models: they describe the API in /openapi.json.

Query parameters are also checked by them. A new job is not: `ferryman.draft.draft` is the one
place that says what a job may be, for HTTP as for Python, and a test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ferryman.batch import MOST_JOBS
from ferryman.job import ID_PATTERN, QUEUE_PATTERN
from ferryman.lifecycle import State

Id = Annotated[str, Field(pattern=f"^{ID_PATTERN.pattern}$")]
Queue = Annotated[str, Field(pattern=f"^{QUEUE_PATTERN.pattern}$")]
Type = Annotated[str, Field(min_length=1, max_length=128)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=20)]
Level = Literal["high", "normal", "low"]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


UNSET: Any = None
"""Default of what is left out when it is not set: never null, which None would let it be."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BackoffBody(_Strict):
    """How long a failed run waits: min(cap, base x factor^(failures-1)) seconds, give or take
    the share `jitter`; with "full" anything from 0 to that."""

    base: float = Field(1.0, ge=0, le=86_400)
    factor: float = Field(2.0, ge=1, le=100)
    cap: float = Field(30.0, ge=0, le=86_400)
    jitter: Annotated[float, Field(ge=0, le=1)] | Literal["full"] = 0.1


class NewJob(_Strict):
    """A job to be run."""

    type: Type
    payload: Any = Field(default_factory=dict, description="any JSON value; missing: {}")
    id: Id | None = Field(None, description="chosen by the client; the same body again: 200")
    queue: Queue | None = Field(None, description='missing: "default"')
    priority: Level | Literal[3, 2, 1] | None = Field(None, description="3 high, 2 normal, 1 low")
    delay: float | None = Field(None, ge=0, le=315_360_000, description="seconds from now")
    run_at: Time | Annotated[float, Field(ge=0, le=253_402_300_799)] | None = Field(
        None, description="RFC 3339 or seconds since 1970; not together with delay"
    )
    max_attempts: int | None = Field(
        None, ge=1, le=1000, description="failed runs before it is dead"
    )
    timeout: float | None = Field(None, ge=0.1, le=604_800, description="seconds a run may take")
    backoff: BackoffBody | None = None
    tags: Tags | None = None
    meta: dict[str, Any] | None = Field(None, description="at most 4,096 bytes of JSON")


class NewJobs(_Strict):
    """Jobs to be run, all or none; as application/x-ndjson one a line, without the list."""

    jobs: Annotated[list[NewJob], Field(min_length=1, max_length=MOST_JOBS)]


class NewPayload(_Strict):
    """What may change when a job is run again."""

    payload: Any = Field(UNSET, description="any JSON value; missing: the old one")


class JobPath(BaseModel):
    """Names a job."""

    job_id: str = Field(description="the job's id")


class DeadQuery(_Strict):
    """Which dead letters to list."""

    type: str | None = None
    queue: str | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, description="next_cursor of the page before")


class JobQuery(DeadQuery):
    """Which jobs to list."""

    status: State | None = None


class Created(BaseModel):
    """The job's id."""

    job_id: str


class CreatedMany(BaseModel):
    """The jobs' ids, in the order of the jobs."""

    job_ids: list[str]


class Run(BaseModel):
    """One run that failed."""

    model_config = ConfigDict(extra="allow")

    attempt: int
    failed_at: Time
    error: str


class JobAnswer(BaseModel):
    """A job. What is not set is left out."""

    id: str
    type: str
    queue: str
    priority: Level
    status: State
    payload: Any = Field(description="any JSON value")
    attempt: int = Field(description="runs begun")
    failures: int = Field(description="runs that ended in an error")
    crashes: int = Field(
        UNSET, description="runs that died with their process; the third ends the job"
    )
    max_attempts: int
    timeout: float = Field(UNSET, description="seconds a run may take, if the job says")
    backoff: BackoffBody = Field(UNSET, description="waits after failed runs, if the job says")
    created_at: Time
    updated_at: Time
    started_at: Time = Field(UNSET)
    completed_at: Time = Field(UNSET)
    run_at: Time = Field(UNSET)
    error: str = Field(UNSET)
    errors: list[Run] = Field(UNSET, description="the last ten failed runs, oldest first")
    result: Any = Field(UNSET, description="any JSON value")
    progress: float = Field(UNSET, ge=0, le=1)
    progress_note: str = Field(UNSET)
    worker: str = Field(UNSET)
    tags: list[str] = Field(UNSET)
    meta: dict[str, Any] = Field(UNSET)
    trace_id: str = Field(
        UNSET, pattern="^[0-9a-f]{32}$", description="of the traceparent it was posted with"
    )


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobAnswer]
    next_cursor: str = Field(UNSET, description="left out on the last page")
    scanned: int = Field(description="ids looked at; a page ends, perhaps not full, after 10,000")


class QueueCounts(BaseModel):
    """Jobs of a queue by state; `paused` is 1 or 0."""

    pending: int
    scheduled: int
    blocked: int
    running: int
    completed: int
    failed: int
    cancelled: int
    paused: int


class StatsAnswer(BaseModel):
    """Every counter at one moment; total = pending + running + completed + failed."""

    total_jobs: int
    pending_jobs: int = Field(description="pending + scheduled + blocked")
    running_jobs: int
    completed_jobs: int
    failed_jobs: int
    dlq_size: int
    scheduled_jobs: int
    blocked_jobs: int
    cancelled_jobs: int
    recovered_jobs: int
    total_processed: int
    successful: int
    failed: int
    queue_length: int = Field(description="jobs ready to run")
    workers: int
    queues: dict[str, QueueCounts]


class Healthy(BaseModel):
    """Redis answers."""

    status: Literal["healthy"]


class Unhealthy(BaseModel):
    """Redis does not answer."""

    status: Literal["unhealthy"]
    error: Literal["redis connection failed"]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Ready(BaseModel):
    """The process can serve."""

    status: Literal["ready"]


class Totals(BaseModel):
    """Lifetime counters."""

    Processed: int
    Failed: int
    Recovered: int


class Wrong(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or /name in the query")
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Wrong] = Field(UNSET)
