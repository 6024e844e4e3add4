"""Commands that run something: up, api, worker; and config, which says with what."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import click

from ferryman import config
from ferryman.cli.common import as_json, noted_server, print_json, print_table, settings

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def flag(option: str, name: str) -> Decorator:
    """A flag for the setting `name`, described by the settings' own table."""
    spec = next(s for s in fields(config.Settings) if s.name == name)
    default = ",".join(spec.default) if isinstance(spec.default, tuple) else spec.default
    text = spec.metadata["help"]
    help_text = f"{text[0].upper()}{text[1:]}  [default: {default}; env: {spec.metadata['env']}]"
    return click.option(option, name, metavar="VALUE", help=help_text)


@click.command()
@flag("--port", "port")
@flag("--host", "host")
@flag("--slots", "num_workers")
@flag("--queues", "queues")
@flag("--app", "app")
@flag("--data", "data")
@click.pass_context
def up(context: click.Context, /, **flags: Any) -> None:
    """Run a server, the API and a worker in this terminal; Ctrl-C stops all of it.

    With REDIS_URL set that server is used, otherwise an embedded one with its data in --data.
    """
    from ferryman.up import run_up

    url = context.find_root().obj
    if url:
        os.environ["REDIS_URL"] = url  # named, even when it is the default's address
    sys.exit(run_up(config.load(redis_url=url, **flags)))


@click.command()
@flag("--port", "port")
@flag("--host", "host")
@flag("--processes", "api_processes")
@flag("--threads", "api_threads")
@click.pass_context
def api(context: click.Context, /, **flags: Any) -> None:
    """Serve HTTP under gunicorn."""
    needs("ferryman_api", "api")
    from ferryman_api.serve import serve

    sys.exit(serve(settings(context, **flags)))


@click.command()
@flag("--app", "app")
@flag("--queues", "queues")
@flag("--slots", "num_workers")
@flag("--processes", "processes")
@click.pass_context
def worker(context: click.Context, /, **flags: Any) -> None:
    """Claim jobs and run them.

    SIGTERM or Ctrl-C: claims no more, lets running jobs end within the drain, gives back the
    rest and exits 0 within 10 s; a second signal stops at once.
    """
    needs("ferryman_worker", "worker")
    from ferryman_worker.worker import work

    sys.exit(work(settings(context, **flags)))


@click.command("config")
@as_json
@click.pass_context
def show_config(context: click.Context, json_out: bool) -> None:
    """Print every setting: its value in force, where that came from, what it is for."""
    loaded = settings(context)
    note = noted_server(context, loaded)
    rows = config.table(loaded, origins={"redis_url": str(note)} if note else None)
    if json_out:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        ("VARIABLE", "VALUE", "FROM", "MEANING"), ((r.env, r.value, r.origin, r.help) for r in rows)
    )


def needs(module: str, extra: str) -> None:
    """A clear word when a part is not installed, instead of a traceback."""
    from importlib.util import find_spec

    parts = {"ferryman_api": "flask_openapi", "ferryman_worker": "PIL"}
    if find_spec(parts[module]) is None:
        raise click.ClickException(f"this needs more packages: pip install 'ferryman[{extra}]'")


COMMANDS: tuple[click.Command, ...] = (up, api, worker, show_config)
