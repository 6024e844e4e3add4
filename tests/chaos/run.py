"""Chaos: real processes, seeded faults, a verdict. `make chaos`; exit 1 on any violation.

python tests/chaos/run.py                         all five acts, then docs/reliability.md
python tests/chaos/run.py --act stalls            one of them; only its table is written
python tests/chaos/run.py --act storm --short --fault child-kill=10 --jobs 2000 --seed 7
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import page
from acts import full, recovery, restarts, stalls, storm
from progress import Progress
from result import Result
from stage import Stage, kept_on_failure
from waiting import Overrun

ACTS: dict[str, Any] = {
    "storm": storm,
    "recovery": recovery,
    "stalls": stalls,
    "restarts": restarts,
    "full": full,
}


def main() -> int:
    """Parse, play, write; the exit code."""
    args = _arguments()
    names = args.act or list(ACTS)
    print(f"chaos: seed {args.seed}", file=sys.stderr)
    results = []
    for place, name in enumerate(names):
        after = sum(ACTS[other].EXPECTED for other in names[place + 1 :])
        result = _play(name, args, after)
        results.append(result)
        print(f"\n### {name}\n\n{page.table(result)}", flush=True)
        if not (args.short or args.fault or args.jobs):
            page.publish(result)
    return 0 if all(result.valid for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--act", action="append", choices=list(ACTS), help="only this one")
    parser.add_argument("--short", action="store_true", help="small; writes no page")
    parser.add_argument("--jobs", type=int, default=0, help="storm: at least so many jobs")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=N", help="storm")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", type=Path, help="folder for data, history and logs, kept")
    return parser.parse_args()


def _play(name: str, args: argparse.Namespace, after: float) -> Result:
    started = time.monotonic()
    progress = Progress(name, ACTS[name].EXPECTED, 0.0 if args.short else after)
    with kept_on_failure(args.keep and args.keep / name) as (folder, good):
        stage = Stage(folder, args.seed, args.short, progress)
        try:
            result = ACTS[name].play(stage, **_options(name, args))
        except Overrun as error:
            result = Result(name, violations=[str(error)])
        except Exception as error:  # a fault of the harness ends its act, not the others
            traceback.print_exc()
            result = Result(name, violations=[f"the harness broke: {error!r}"])
        good.append(result.valid)
    seconds = time.monotonic() - started
    progress.end(seconds)
    words = [f"--act {name}", f"--seed {args.seed}", *(["--short"] if args.short else [])]
    command = " ".join(["python tests/chaos/run.py", *words])
    result.facts = page.facts(result, command, args.seed, seconds)
    return result


def _options(name: str, args: argparse.Namespace) -> dict[str, Any]:
    if name != "storm":
        return {}
    plan = {kind: int(n) for kind, n in (fault.split("=") for fault in args.fault)}
    return {"plan": plan, "jobs": args.jobs}


if __name__ == "__main__":
    sys.exit(main())
