"""What a run's record becomes: goals, page, picture, the order of the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench import page, picture
from bench.__main__ import PAGE, PICTURE, RECORD
from bench.contenders import CONTENDERS, named
from bench.crew import Failed, parse
from bench.goals import GOALS, Results
from bench.http import read_hey, read_wrk
from bench.runner import Run, bar, load, steps

HEAD = {
    "date": "2026-01-02", "command": "python -m bench --only all", "server": "redis 7.0.15, stock",
    "cores": 2, "memory_gib": 24, "processor": "Some CPU", "system": "Linux 6.1",
    "python": "3.11.7", "scale": 1.0, "backlog": 1_000_000, "load_before": 0.1,
}  # fmt: skip


def sample(task: str, contender: str, number: int = 1, **metrics: float) -> dict[str, Any]:
    return {"task": task, "contender": contender, "round": number, "metrics": metrics,
            "error": None}  # fmt: skip


def run(*samples: dict[str, Any], path: Path = Path("unused")) -> Run:
    return Run(path, dict(HEAD), list(samples))


def goal(row: str, what: str = "") -> Any:
    return next(g for g in GOALS if (g.row, g.what) == (row, what))


def drains(task: str = "drain", **rates: float) -> list[dict[str, Any]]:
    return [sample(task, name.replace("_", "-"), jobs_per_s=rate) for name, rate in rates.items()]


def test_a_goal_is_met_at_its_bound_and_missed_below() -> None:
    against = goal("drain, free", "BullMQ")
    assert against.verdict(Results(drains(ferryman=15.0, bullmq=10.0))) == "met"
    assert against.verdict(Results(drains(ferryman=14.9, bullmq=10.0))) == "missed"
    assert against.verdict(Results(drains(ferryman=15.0))) == "not measured"


def test_a_goal_with_an_upper_bound_is_met_below_it() -> None:
    p99 = goal("POST /jobs, p99 at half the maximum")
    assert p99.verdict(Results([sample("http", "ferryman", half_p99_ms=25.0)])) == "met"
    assert p99.verdict(Results([sample("http", "ferryman", half_p99_ms=25.1)])) == "missed"


def test_of_two_goals_for_bulk_one_is_enough() -> None:
    results = Results([sample("enqueue", "ferryman", bulk_per_s=61_000.0),
                       sample("enqueue", "raw-plain", bulk_per_s=200_000.0)])  # fmt: skip
    either, other = (g for g in GOALS if g.either == "bulk")
    assert (either.verdict(results), other.verdict(results)) == ("met by the other", "met")


def test_the_best_durable_python_peer_is_found_in_the_run() -> None:
    results = Results(drains(ferryman=80.0, arq=5.0, dramatiq=10.0, huey=1000.0))
    found = goal("drain, free", "best durable Python peer").figure(results)
    assert found.median == 8.0  # huey is faster and loses jobs


def test_the_worst_script_decides_about_growth() -> None:
    figures = {"claim:ratio_cpu_us": 1.1, "finish:ratio_cpu_us": 1.3, "finish:ratio_us": 9.0}
    results = Results([sample("growth", "ferryman", **figures)])
    assert goal("growth: worst script at the large backlog", "its CPU at 1,000").figure(
        results
    ).median == pytest.approx(1.3)


def test_every_contender_stands_in_the_page_with_its_guarantee() -> None:
    text = page.render(run())
    for contender in CONTENDERS:
        assert f"| {contender.name} | {contender.detail} |" in text


def test_a_table_has_as_many_cells_in_every_row() -> None:
    everything = drains(ferryman=80.0, bullmq=10.0, raw_plain=3.0)
    for block in page.render(run(*everything)).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, block


def test_the_terminal_names_what_failed() -> None:
    broken = sample("drain", "huey") | {"error": "no such thing"}
    assert "drain, huey, round 1: no such thing" in page.terminal(run(broken))


def test_the_picture_is_svg_with_the_fastest_on_top() -> None:
    drawn = picture.render(run(*drains(ferryman=30.0, bullmq=10.0, raw_batch64=60.0)))
    texts = [t.text for t in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314  # ours
    names = [t for t in texts if t in ("ferryman", "bullmq", "raw-batch64")]
    assert names == ["raw-batch64", "ferryman", "bullmq"]


def test_every_round_has_every_contender_and_the_next_one_turns_the_order() -> None:
    order = steps(named(["raw"]), ["drain", "growth"], 2)
    assert [c.name for n, _, c in order if n == 1] == ["raw-plain", "raw-fused", "raw-batch64"]
    assert [c.name for n, _, c in order if n == 2] == ["raw-batch64", "raw-fused", "raw-plain"]


def test_a_long_task_is_done_in_the_first_round_only() -> None:
    assert [(n, row) for n, row, _ in steps(named(["ferryman"]), ["growth"], 3)] == [(1, "growth")]


def test_a_name_stands_for_all_settings_of_a_system() -> None:
    assert [c.name for c in named(["rq", "bullmq"])] == ["rq-fork", "rq-simple", "bullmq"]
    assert len(named(["all"])) == len(CONTENDERS)
    with pytest.raises(SystemExit, match="no contender 'rabbit'"):
        named(["rabbit"])


def test_a_run_is_resumed_from_its_record(tmp_path: Path) -> None:
    failed = sample("drain", "huey") | {"error": "down"}
    record = run(sample("drain", "arq", 2, jobs_per_s=1.0), failed, path=tmp_path / "run.json")
    record.save()
    again = load(tmp_path / "run.json")
    assert again == record
    assert again.done() == {("drain", "arq", 2)}  # what failed is tried again


def test_a_sample_that_failed_gives_way_to_its_second_try(tmp_path: Path) -> None:
    failed = sample("drain", "huey") | {"error": "down"}
    record = run(failed, sample("drain", "arq", jobs_per_s=1.0), path=tmp_path / "run.json")
    record.add(sample("drain", "huey", jobs_per_s=2.0))
    assert [s["error"] for s in record.samples] == [None, None]


def test_figures_taken_beside_other_work_say_so() -> None:
    busy = run(*drains(ferryman=1.0))
    busy.head["load_before"] = 3.0
    assert "Other work was running" in page.render(busy)
    assert "other work was running" in picture.render(busy)
    assert "ther work was running" not in page.render(run()) + picture.render(run())


def test_notes_are_read_whole_and_in_order() -> None:
    from bench.crew import RECORD as NOTE

    data = NOTE.pack(2.0, 7) + NOTE.pack(1.0, 8) + b"half a note"
    notes = parse(data)
    assert notes.times == [1.0, 2.0]
    assert notes.lanes() == {8: [1.0], 7: [2.0]}


def test_a_report_with_refused_requests_is_no_figure() -> None:
    assert read_wrk("Requests/sec:   3211.50\n") == (3211.5, 0)
    with pytest.raises(Failed, match="12"):
        read_wrk("Non-2xx or 3xx responses: 12\nRequests/sec:   3211.50\n")
    assert read_hey("  99% in 0.0124 secs") == pytest.approx(12.4)


def test_the_bar_is_as_long_as_the_work_done() -> None:
    assert bar(3, 6, 4) == "[##--] 3/6"


def test_page_and_picture_are_those_of_the_published_record() -> None:
    record = load(RECORD)
    assert PAGE.read_text() == page.render(record)
    assert PICTURE.read_text() == picture.render(record)


@pytest.mark.parametrize(
    ("raw", "ours", "verdict"),
    [(0.9, 1.9, "met"), (0.9, 2.1, "missed"), (1.1, 2.1, "not asked here"), (1.1, 1.9, "met")],
)
def test_a_slow_machine_is_not_asked_for_a_quick_answer(
    raw: float, ours: float, verdict: str
) -> None:
    found = Results(
        [sample("latency", "ferryman", p99_ms=ours), sample("latency", "raw-plain", p99_ms=raw)]
    )
    assert (
        goal("idle latency p99, free", "where the raw loop's is <= 1 ms").verdict(found) == verdict
    )
