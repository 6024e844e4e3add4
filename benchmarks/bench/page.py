"""The result page and the terminal's table, both from a run's samples. No figure is typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.contenders import CONTENDERS, LOOP, Contender
from bench.environments import PACKAGES
from bench.goals import GOALS, OURS, Results, growth_ratios
from bench.runner import Run

NONE = "-"

REASONS = Path(__file__).parents[1] / "reasons.md"
"""Written by hand after a run: what its missed goals were missed for."""

INTRO = """# Benchmarks

Made by `make bench-page` from `benchmarks/result.json` (and the part on missed goals from
`benchmarks/reasons.md`): no figure in a table is typed by hand.
`make bench` measures Ferryman and the bare redis-py loops in under 3 minutes, `make bench-rivals`
everything, each rival in an environment of its own under `.bench/`.

![Drain rates](benchmarks.svg)
"""

HOW = """
## How it is measured

- One worker command, no-op jobs with a payload of 100 bytes, queued first. A job writes its time
  to a file in shared memory (one write, no round trip); the rate counts from first to last.
- A fresh server for every sample, `--save ""`, AOF off except where a row says everysec.
- Every contender runs once per round, then all again the other way round. Cells: median (min-max)
  of the rounds; ratios are made inside a round, then the median is taken.
- *Free*: the kernel places the processes. *Pinned*: server, producer and worker share one core, so
  the figure is the processor time of a job, whoever spends it. A round trip between two cores that
  sleep in between costs several times that on one: compare free with free, pinned with pinned.
- Nothing of ours is switched off: states, counters, metrics, fence, leases, result, history, a log
  line per job (to a file), default log level. After a drain our counters must say all completed.
  `FERRYMAN_MAX_PENDING` is raised so that the backlog fits; every other setting but the slots is
  at its default.
- Latency: time in the handler less the time just before the enqueue call, worker idle, a random
  gap before each job, as wide as the interval of those that poll.
- HTTP: 2 gunicorn processes of 8 threads, wrk with 16 connections on the same cores; p99 by hey at
  half of the maximum. The bare route: JSON in, one LPUSH, JSON out.
- Growth: two servers side by side, small batches in turn, each one pipeline; the processor time of
  the server's thread, which decides, and EVALSHA's time per call in commandstats, which counts what
  else ran on the core. `recover` and `promote` move 50 jobs a call. The scripts of `ferryman check`
  and of `analytics` jobs are not in it.
"""


def render(run: Run) -> str:
    """docs/benchmarks.md."""
    results = Results(run.samples)
    parts = [
        INTRO, _machine(run), "\n## Goals\n", *_goals(results), "", REASONS.read_text().rstrip(),
        "\n## Drain, jobs/s\n",
        *_drains(results), "\n## Enqueue and latency\n", *_enqueues(results),
        "\n## Cost of a job while draining, free\n", *_costs(results), "\n## Growth\n",
        *_growth(run, results), "\n## Guarantees and settings\n", *_guarantees(run), HOW,
    ]  # fmt: skip
    return "\n".join(part.rstrip("\n") if part == HOW else part for part in parts) + "\n"


def terminal(run: Run) -> str:
    """The goals and the drains of a run, for a terminal."""
    results = Results(run.samples)
    rows = [r for r in _goal_rows(results) if "not measured" not in r]
    shown = [("row", "against", "goal", "measured", ""), *rows] if rows else []
    drains = [("", *row) for row in _drain_rows(results)]
    return "\n".join([*_columns(shown), "", *_columns(drains), *_failures(run)])


def _machine(run: Run) -> str:
    h = run.head
    scale = "" if h["scale"] == 1 else f" Job numbers times {h['scale']:g}."
    if run.busy:
        scale += " **Other work was running**: this shows that everything runs, not how fast."
    return (
        f"{h['date']}, {h['cores']} cores ({h['processor']}), {h['memory_gib']} GiB, "
        f"{h['system']}, Python {h['python']}, {h['server']}; "
        f"load before the run {h['load_before']}.{scale}\n\n"
        f"    {h['command']}\n"
    )


def _goals(results: Results) -> list[str]:
    return table(("row", "against", "goal", "measured", ""), _goal_rows(results))


def _goal_rows(results: Results) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for goal in GOALS:
        found = goal.figure(results)
        text = found.text(goal.digits) if found else NONE
        rows.append((goal.row, goal.what or NONE, goal.bound_text(), text, goal.verdict(results)))
    return rows


def _drains(results: Results) -> list[str]:
    head = ("", "free", "pinned", "pinned, AOF everysec", "free / ferryman", "when a worker dies")
    return table(head, _drain_rows(results))


def _drain_rows(results: Results) -> list[tuple[str, ...]]:
    rows = []
    for c in _measured(results, ("drain", "pinned", "aof")):
        cells = [_cell(results, task, c, "jobs_per_s") for task in ("drain", "pinned", "aof")]
        ratio = results.ratio("drain", "jobs_per_s", c.name, OURS)
        rows.append((c.name, *cells, ratio.text(2) if ratio else NONE, _promise(c)))
    return rows


def _promise(contender: Contender) -> str:
    return "in a list, no recovery" if contender.promise == LOOP else contender.promise


def _enqueues(results: Results) -> list[str]:
    head = ("", "one per call, pinned, jobs/s", "bulk, pinned, jobs/s", "latency p50, ms",
            "p95, ms", "p99, ms")  # fmt: skip
    rows = []
    for c in _measured(results, ("enqueue", "latency")):
        sent = [_cell(results, "enqueue", c, name) for name in ("one_per_s", "bulk_per_s")]
        waits = [_cell(results, "latency", c, f"p{p}_ms", 2) for p in (50, 95, 99)]
        rows.append((c.name, *sent, *waits))
    return table(head, rows)


def _costs(results: Results) -> list[str]:
    names = {"reads_per_job": 3, "commands_per_job": 1, "bytes_per_job": 0, "redis_us_per_job": 1,
             "worker_us_per_job": 1, "twice": 0}  # fmt: skip
    head = ("", "socket reads of the server", "commands", "bytes in the queue",
            "server CPU, us", "worker CPU, us", "ran twice")  # fmt: skip
    rows = [
        (c.name, *(_cell(results, "drain", c, name, digits) for name, digits in names.items()))
        for c in _measured(results, ("drain",))
    ]
    return table(head, rows)


def _growth(run: Run, results: Results) -> list[str]:
    few, many = "1,000 jobs", f"{run.head['backlog']:,} jobs"
    head = ("us per call", f"CPU, {few}", f"CPU, {many}", "ratio",
            f"commandstats, {few}", f"commandstats, {many}", "ratio")  # fmt: skip
    rows = [
        (verb, *_growth_cells(results, verb, "cpu_us"), *_growth_cells(results, verb, "us"))
        for verb in growth_ratios(results, "cpu_us")
    ]
    return table(head, rows)


def _growth_cells(results: Results, verb: str, unit: str) -> list[str]:
    found = [results.spread("growth", OURS, f"{verb}:{side}_{unit}") for side in ("small", "large")]
    ratio = growth_ratios(results, unit).get(verb)
    cells = [s.text(1) if s else NONE for s in found]
    return [*cells, NONE if ratio is None else f"{ratio:.2f}"]


def _guarantees(run: Run) -> list[str]:
    rows = []
    for c in CONTENDERS:
        versions = run.versions.get(c.env) or _lacking(run, c)
        rows.append((c.name, c.detail, c.settings, versions))
    return table(("", "a job whose worker dies in it, by default", "worker", "versions"), rows)


def _lacking(run: Run, contender: Contender) -> str:
    if contender.env in run.missing:
        return f"not measured: {run.missing[contender.env]}"
    return PACKAGES.get(contender.env, "").replace("==", " ") + " (not in this run)"


def _failures(run: Run) -> list[str]:
    bad = [f"{s['task']}, {s['contender']}, round {s['round']}: {s['error']}"
           for s in run.samples if s["error"]]  # fmt: skip
    bad += [f"{env}: {why}" for env, why in run.missing.items()]
    return ["", "Not measured:", *bad] if bad else []


def _measured(results: Results, tasks: Iterable[str]) -> list[Contender]:
    return [c for c in CONTENDERS if any(results.names(task, c.name) for task in tasks)]


def _cell(results: Results, task: str, contender: Contender, name: str, digits: int = 0) -> str:
    found = results.spread(task, contender.name, name)
    return found.text(digits) if found else NONE


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows]  # fmt: skip
