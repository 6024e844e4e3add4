"""`report` with real files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferryman import Bury, Context, Ferryman, Settings
from ferryman.context import BadPayload
from ferryman.job import encode
from ferryman_worker.jobs import register

Report = Callable[..., Any]
CONTEXT = Context("job-1", "report", "default", 1, 0, 3, 60.0)
SALES = "region,amount,note\nnorth,0.10,a\nsouth,5,\nnorth,0.20,\n\nsouth,-7.5,b\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def report(files: Path) -> Report:
    """Runs a `report` job, by default the sum of amount by region into out.csv."""

    def run(**payload: Any) -> Any:
        ferry = Ferryman(Settings(files=str(files)))
        register(ferry)
        job_type = ferry.registry.get("report")
        assert job_type is not None
        usual = {"group_by": "region", "aggregates": {"amount": "sum"}, "target": "out.csv"}
        return job_type.call(usual | payload, CONTEXT)

    return run


def lines(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_csv_file_becomes_a_file_and_a_result_of_exact_sums(files: Path, report: Report) -> None:
    (files / "sales.csv").write_text(SALES)
    result = report(source="sales.csv")
    assert lines(files / "out.csv") == [
        ["region", "amount_sum"],
        ["north", "0.30"],
        ["south", "-2.5"],
    ]
    assert result == {
        "target": "out.csv",
        "groups": 2,
        "rows": [
            {"region": "north", "amount_sum": "0.30"},
            {"region": "south", "amount_sum": "-2.5"},
        ],
    }


@pytest.mark.parametrize(
    ("what", "north", "south"),
    [
        ("sum", "0.30", "-2.5"),
        ("mean", "0.15", "-1.25"),
        ("min", "0.10", "-7.5"),
        ("max", "0.20", "5"),
        ("count", 2, 2),
    ],
)
def test_each_aggregate_is_what_its_name_says(
    files: Path, report: Report, what: str, north: Any, south: Any
) -> None:
    (files / "sales.csv").write_text(SALES)
    rows = report(source="sales.csv", aggregates={"amount": what})["rows"]
    assert [row[f"amount_{what}"] for row in rows] == [north, south]


def test_rows_may_come_in_the_payload_or_in_a_json_file(files: Path, report: Report) -> None:
    rows = [{"region": "north", "amount": 0.1}, {"region": "north", "amount": 0.2}]
    (files / "sales.json").write_text(json.dumps(rows))
    given = report(rows=rows)
    assert given["rows"] == [{"region": "north", "amount_sum": "0.3"}]
    assert report(source="sales.json") == given


def test_a_csv_file_from_a_spreadsheet_is_read(files: Path, report: Report) -> None:
    (files / "sales.csv").write_bytes('region,amount\r\n"nord, süd",1\r\n'.encode("utf-8-sig"))
    assert report(source="sales.csv")["rows"] == [{"region": "nord, süd", "amount_sum": "1"}]


def test_several_columns_group_in_order_and_none_makes_one_total(report: Report) -> None:
    rows = [{"y": 2026, "m": "b", "n": 1}, {"y": 2025, "m": "a", "n": 2}, {"y": 2026, "n": 4}]
    result = report(rows=rows, group_by=["y", "m"], aggregates={"n": "sum"})
    assert [list(row.values()) for row in result["rows"]] == [
        ["2025", "a", "2"],
        ["2026", "", "4"],
        ["2026", "b", "1"],
    ]
    assert report(rows=rows, group_by=[], aggregates={"n": "sum"})["rows"] == [{"n_sum": "7"}]


def test_blank_cells_count_for_nothing(report: Report) -> None:
    rows = [{"region": "a", "amount": None}, {"region": "a", "amount": " "}, {"region": "a"}]
    for what, value in {"sum": "0", "mean": "", "min": "", "max": "", "count": 0}.items():
        result = report(rows=rows, aggregates={"amount": what})
        assert result["rows"] == [{"region": "a", f"amount_{what}": value}]


def test_no_rows_make_an_empty_report(files: Path, report: Report) -> None:
    assert report(rows=[]) == {"target": "out.csv", "groups": 0, "rows": []}
    assert lines(files / "out.csv") == [["region", "amount_sum"]]


def test_sums_are_exact_where_floats_are_not(report: Report) -> None:
    rows = [{"region": "a", "amount": n} for n in ("1e30", "0.000000000000000000001", "-1e30")]
    assert report(rows=rows)["rows"][0]["amount_sum"] == "0.000000000000000000001"
    tenths = [{"region": "a", "amount": 0.1}] * 10
    assert report(rows=tenths)["rows"][0]["amount_sum"] == "1.0"


@pytest.mark.parametrize("bad", ["region", "amount"])
def test_a_column_nobody_has_is_named_with_those_there_are(
    files: Path, report: Report, bad: str
) -> None:
    (files / "sales.csv").write_text(SALES.replace(bad, "other"))
    with pytest.raises(Bury, match=f"no row has a column '{bad}'; there are: .*other"):
        report(source="sales.csv")
    with pytest.raises(Bury, match="no row has a column 'region'"):
        report(rows=[{}])


@pytest.mark.parametrize(
    "cell", ["many", "1,000", "NaN", "1e999999999999", "1e60", "0." + "1" * 60, True, [1], "1_0"]
)
def test_a_cell_that_is_no_number_is_named_by_row_and_column(report: Report, cell: Any) -> None:
    rows = [{"region": "a", "amount": 1}, {"region": "a", "amount": cell}]
    with pytest.raises(Bury, match="row 2, column 'amount'"):
        report(rows=rows)
    assert report(rows=rows, aggregates={"amount": "count"})["rows"][0]["amount_count"] == 2


@pytest.mark.parametrize("text", ['=HYPERLINK("x")', "+x", "-x", "@x", "\tx"])
def test_text_that_a_spreadsheet_would_run_is_made_text_in_the_file(
    files: Path, report: Report, text: str
) -> None:
    result = report(rows=[{"region": text, "amount": 1}])
    assert lines(files / "out.csv")[1] == [f"'{text}", "1"]
    assert result["rows"][0]["region"] == text


def test_numbers_below_zero_stay_numbers_in_the_file(files: Path, report: Report) -> None:
    report(rows=[{"region": -5, "amount": -1.5}])
    assert lines(files / "out.csv")[1] == ["-5", "-1.5"]


def test_the_result_of_a_long_report_is_cut_and_says_how_long_it_is(
    files: Path, report: Report
) -> None:
    result = report(rows=[{"region": f"{n:04}", "amount": 1} for n in range(1000)])
    assert (result["groups"], len(result["rows"])) == (1000, 200)
    assert len(lines(files / "out.csv")) == 1001
    wide = report(rows=[{"region": f"{n}" + "ü" * 2000, "amount": 1} for n in range(100)])
    assert wide["groups"] == 100
    assert len(wide["rows"]) < 100
    assert len(encode(wide).encode()) < 64 * 1024


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "a different name for each column"),
        ("x.csv", b"region,region,amount\n", "a different name for each column"),
        ("x.csv", b"region,amount\na,1,2\n", "row 1: more cells"),
        ("x.csv", b"region,amount\n\xff,1\n", "not CSV in UTF-8"),
        ("x.csv", b'region,amount\n"a,1\n', "not CSV in UTF-8"),
        ("x.json", b"{", "not JSON"),
        ("x.json", b"[" * 100_000, "not JSON"),
        ("x.json", b'{"region": "a"}', "a list of objects"),
        ("x.json", b"[1]", "a list of objects"),
        ("x.json", b'[{"region": ["a"], "amount": 1}]', "cannot name a group"),
        ("x.txt", b"", r"\.csv or \.json"),
    ],
)
def test_a_broken_source_is_buried_with_what_is_wrong(
    files: Path, report: Report, name: str, content: bytes, words: str
) -> None:
    (files / name).write_bytes(content)
    with pytest.raises(Bury, match=words):
        report(source=name)
    assert not (files / "out.csv").exists()


def test_half_a_character_in_a_json_file_does_not_break_the_report(
    files: Path, report: Report
) -> None:
    (files / "x.json").write_text('[{"region": "\\ud800", "amount": 1}]')
    assert report(source="x.json")["rows"] == [{"region": "?", "amount_sum": "1"}]


def test_a_source_that_is_not_there_yet_is_worth_another_try(report: Report) -> None:
    with pytest.raises(FileNotFoundError, match=r"sales\.csv"):
        report(source="sales.csv")


@pytest.mark.parametrize("name", ["../out.csv", "OUTSIDE/out.csv", "link/out.csv"])
@pytest.mark.parametrize("field", ["source", "target"])
def test_no_path_leads_out_of_the_folder(
    files: Path, report: Report, tmp_path: Path, field: str, name: str
) -> None:
    (files / "link").symlink_to(tmp_path)
    (files / "sales.csv").write_text(SALES)
    (tmp_path / "out.csv").write_text(SALES)
    with pytest.raises(Bury, match="not a path inside FERRYMAN_FILES"):
        report(**{"source": "sales.csv", field: name.replace("OUTSIDE", str(tmp_path))})
    assert (tmp_path / "out.csv").read_text() == SALES


def test_a_target_that_is_no_csv_file_is_buried(report: Report) -> None:
    with pytest.raises(Bury, match=r"'out\.png': expected a name ending in \.csv"):
        report(rows=[], target="out.png")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"rows": [], "source": "sales.csv"},
        {"rows": [1]},
        {"rows": [], "aggregates": {}},
        {"rows": [], "aggregates": {"amount": "median"}},
        {"rows": [], "group_by": ["region", "region"]},
        {"rows": [], "group_by": "amount_sum"},
    ],
)
def test_what_cannot_be_meant_does_not_fit_the_payload(
    report: Report, payload: dict[str, Any]
) -> None:
    with pytest.raises(BadPayload, match="payload does not fit"):
        report(**payload)
