"""Commands that look after the data and the server: check, doctor."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ferryman.cli.common import as_json, print_json, print_table, printable, settings, utc
from ferryman.words import counted

if TYPE_CHECKING:
    from ferryman.check import Finding, Report
    from ferryman.doctor import Advice
    from ferryman.store.audit import Audit

MOST = 50
"""Findings of a kind that are printed; --json has all of them."""


@click.command()
@click.option("--repair", "repairing", is_flag=True, help="Say what would be mended, and how")
@click.option("--yes", is_flag=True, help="With --repair: mend it")
@click.option(
    "--settle",
    type=click.FloatRange(0, 600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between the two sightings of whatever looks wrong",
)
@as_json
@click.pass_context
def check(
    context: click.Context, repairing: bool, yes: bool, settle: float, json_out: bool
) -> None:
    """Check that what lies in Redis agrees with itself. Safe on a live system.

    Exits 0 when all is well, 1 when something is wrong (still, after --repair --yes), 3 when Redis
    cannot be reached. docs/check.md says what each finding means.
    """
    from ferryman.check import inspect, repair

    if yes and not repairing:
        raise click.UsageError("--yes goes with --repair")
    store = _audit(context)
    with progress_bar(store) as tick:
        report = inspect(store, settle, tick)
    mended: list[Finding] = []
    if yes and report.findings:
        with progress_bar(store) as tick:
            mended, report = repair(store, report, settle, tick)
    _note(store, report)
    if json_out:
        print_json(_as_json(report, mended))
    else:
        _print(report, mended, repairing and not yes)
    sys.exit(1 if report.findings else 0)


def _audit(context: click.Context) -> Audit:
    from ferryman.store.audit import Audit

    return Audit(settings(context))


def _note(store: Audit, report: Report) -> None:
    """Leave the result for /metrics; a Redis that takes no writes has other worries."""
    from ferryman.errors import StoreUnavailable

    with contextlib.suppress(StoreUnavailable):
        store.note(report.at, len(report.findings))


@contextlib.contextmanager
def progress_bar(store: Audit) -> Iterator[Callable[[int], None]]:
    """What counts keys and entries; it is shown where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=2 * store.size(), label="checking", file=sys.stderr) as bar:
        yield bar.update


def _as_json(report: Report, mended: list[Finding]) -> dict[str, Any]:
    return {
        "healthy": not report.findings,
        "at": utc(report.at),
        "seconds": round(report.seconds, 3),
        "jobs": report.jobs,
        "violations": [_finding_view(f) for f in report.findings],
        "mended": [_finding_view(f) for f in mended],
        "notes": report.notes,
    }


def _finding_view(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "subject": printable(finding.subject),
        "what": printable(finding.what),
        "repairable": finding.repair is not None,
        "remedy": printable(finding.remedy),
    }


def _print(report: Report, mended: list[Finding], dry_run: bool) -> None:
    for finding in mended:
        click.echo(f"mended  {finding.kind}  {printable(finding.subject)}")
    _print_findings(report.findings, dry_run)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    wrong = len(report.findings)
    verdict = counted(wrong, "violation") if wrong else "all is well"
    jobs = counted(report.jobs, "job")
    click.echo(f"{verdict}: {jobs} checked in {report.seconds:.1f} s", err=True)
    if wrong and not mended and any(f.repair for f in report.findings):
        command = "ferryman check --repair --yes" if dry_run else "ferryman check --repair"
        click.echo(f"{'mend it' if dry_run else 'see what would mend it'}: {command}", err=True)


def _print_findings(findings: list[Finding], dry_run: bool) -> None:
    if not findings:
        return
    shown: dict[str, int] = {}
    rows = []
    for f in findings:
        shown[f.kind] = shown.get(f.kind, 0) + 1
        if shown[f.kind] <= MOST:
            what = f"{f.what}; would: {f.remedy}" if dry_run and f.repair else f.what
            what = what if f.repair or not f.advice else f"{what} ({f.advice})"
            rows.append((f.kind, printable(f.subject), printable(what)))
    print_table(("KIND", "WHERE", "WHAT"), rows)
    for kind, number in shown.items():
        if number > MOST:
            click.echo(f"... and {number - MOST} more of kind {kind}: --json prints all")


@click.command()
@as_json
@click.pass_context
def doctor(context: click.Context, json_out: bool) -> None:
    """Look at the server and what lies about in it, and say what to do about it.

    Exits 0 unless there is a problem (1); 3 when Redis cannot be reached.
    """
    from ferryman.doctor import Level, diagnose, this_host
    from ferryman.store.facts import facts

    store = _audit(context)
    found = diagnose(facts(store), this_host(store.address))
    if json_out:
        print_json([asdict(advice) for advice in found])
    else:
        for advice in found:
            _tell(advice)
    sys.exit(1 if any(advice.level is Level.PROBLEM for advice in found) else 0)


def _tell(advice: Advice) -> None:
    click.echo(f"{advice.level:<8} {advice.topic}: {printable(advice.what)}")
    for label, text in (("why", advice.why), ("fix", advice.fix)):
        if text:
            click.echo(f"{'':<8}   {label}: {printable(text)}")


COMMANDS: tuple[click.Command, ...] = (check, doctor)
