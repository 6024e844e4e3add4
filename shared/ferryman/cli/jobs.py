"""Commands about jobs: enqueue, job, dlq, stats; and redis, for machines without redis-cli."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ferryman.cli.common import (
    as_json,
    ferryman,
    job_view,
    print_json,
    print_table,
    printable,
    shortened,
    utc,
)
from ferryman.words import counted

LONGEST_ERROR = 120
"""Characters of an error in a list; `job show` has all of it."""


@click.command()
@click.argument("type")
@click.argument("payload", required=False)
@click.option("--id", help="An id of your own; the same one again gives the first job")
@click.option("--queue", help="[default: default]")
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low", "3", "2", "1"]),
    callback=lambda _context, _option, said: int(said) if said in {"3", "2", "1"} else said,
)
@click.option("--delay", type=float, metavar="SECONDS", help="Run no sooner than this from now")
@click.option("--max-attempts", type=int, metavar="N", help="Failed runs before it is dead")
@click.option("--timeout", type=float, metavar="SECONDS", help="Time limit of one run")
@click.option("--tag", "tags", multiple=True, help="May be given several times")
@click.option("--wait", type=float, metavar="SECONDS", help="Wait for the end; print the job")
@as_json
@click.pass_context
def enqueue(
    context: click.Context,
    /,
    type: str,
    payload: str | None,
    wait: float | None,
    json_out: bool,
    **options: Any,
) -> None:
    """Enqueue a job of TYPE with PAYLOAD (JSON, or - to read it from stdin); print its id."""
    text = sys.stdin.read() if payload == "-" else payload
    try:
        value = {} if text is None else json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"PAYLOAD: expected JSON: {error}") from None
    given = {name: v for name, v in options.items() if v not in (None, ())}
    handle = ferryman(context).enqueue(type, value, **given)
    if wait is not None:
        job = handle.wait(wait)
        print_json(job_view(job))
        sys.exit(0 if job.state == "completed" else 1)
    if json_out:
        print_json({"job_id": handle.id})
    else:
        click.echo(handle.id)


@click.group()
def job() -> None:
    """Look at jobs."""


@job.command()
@click.argument("job_id", metavar="ID")
@as_json
@click.pass_context
def show(context: click.Context, job_id: str, json_out: bool) -> None:
    """Print everything about one job."""
    view = job_view(ferryman(context).get(job_id))
    if json_out:
        print_json(view)
        return
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in view.items()
        if name != "errors"
    ]
    failed = view.get("errors", ())
    rows += [(f"attempt {e['attempt']}", f"{e['failed_at']}  {e['error']}") for e in failed]
    print_table(("FIELD", "VALUE"), [(name, printable(value)) for name, value in rows])


@click.group()
def dlq() -> None:
    """Look at dead letters: jobs given up."""


@dlq.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
@click.pass_context
def list_dead(context: click.Context, limit: int, json_out: bool) -> None:
    """Print dead letters, newest first."""
    store = ferryman(context).store
    jobs = store.get_many([job_id for _, job_id in store.dead(None, limit)])
    if json_out:
        print_json([job_view(j) for j in jobs])
        return
    print_table(
        ("ID", "TYPE", "FAILED AT", "ATTEMPT", "ERROR"),
        (
            (
                j.id,
                printable(j.type),
                utc(j.completed_at),
                j.attempt,
                shortened(printable(j.error or ""), LONGEST_ERROR),
            )
            for j in jobs
        ),
    )


@click.command()
@as_json
@click.pass_context
def stats(context: click.Context, json_out: bool) -> None:
    """Print how many jobs there are, by state and by queue."""
    now = ferryman(context).store.stats()
    states = {state.value: n for state, n in now.states.items()}
    if json_out:
        queues = {name: dict(fields) for name, fields in now.queues.items()}
        more = {"total": now.total, "dlq_size": now.dlq_size, "workers": now.workers}
        print_json(states | more | {"events": dict(now.events), "queues": queues})
        return
    names = list(states)
    rows = [("all", *states.values())]
    for name, fields in sorted(now.queues.items()):
        mark = " (paused)" if fields["paused"] else ""
        rows.append((name + mark, *(fields[s] for s in names)))
    print_table(("QUEUE", *(n.upper() for n in names)), rows)
    dead, workers = counted(now.dlq_size, "dead letter"), counted(now.workers, "worker")
    click.echo(f"\n{dead}, {workers}", err=True)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def redis(context: click.Context, command: tuple[str, ...]) -> None:
    """Run any Redis COMMAND and print the reply as redis-cli would.

    \b
    Example: ferryman redis LRANGE 'ferryman:{0}:dlq' 0 9
    """
    from ferryman.store.connect import spoken_errors

    with spoken_errors():
        reply = ferryman(context).store.command(*command)
    for line in reply_lines(reply) if sys.stdout.isatty() else raw_lines(reply):
        click.echo(line)


def reply_lines(reply: Any) -> list[str]:
    """A reply as redis-cli shows it to a person: typed, quoted, numbered."""
    if isinstance(reply, list):
        if not reply:
            return ["(empty array)"]
        width = len(str(len(reply)))
        lines = []
        for number, item in enumerate(reply, 1):
            first, *rest = reply_lines(item)
            lines.append(f"{number:>{width}}) {first}")
            lines += [" " * (width + 2) + line for line in rest]
        return lines
    if reply is None:
        return ["(nil)"]
    if isinstance(reply, int):
        return [f"(integer) {reply}"]
    text = reply.decode("utf-8", "backslashreplace") if isinstance(reply, bytes) else str(reply)
    return [json.dumps(text, ensure_ascii=False)]


def raw_lines(reply: Any) -> list[str]:
    """A reply as redis-cli gives it to a pipe: one element a line, as it is."""
    if isinstance(reply, list):
        return [line for item in reply for line in raw_lines(item)]
    if reply is None:
        return [""]
    return [reply.decode("utf-8", "backslashreplace") if isinstance(reply, bytes) else str(reply)]


COMMANDS: tuple[click.Command, ...] = (enqueue, job, dlq, stats, redis)
