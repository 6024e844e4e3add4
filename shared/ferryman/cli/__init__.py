"""The command `ferryman`. Results go to stdout, messages to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 Redis unreachable, 4 no such job,
5 not allowed from its state, 6 waited too long, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from ferryman.cli import health, jobs, serve
from ferryman.errors import (
    ConfigError,
    FerrymanError,
    IdempotencyConflict,
    InvalidJob,
    JobNotFound,
    StoreUnavailable,
    WrongState,
)

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigError, 2),
    (InvalidJob, 2),
    (StoreUnavailable, 3),
    (JobNotFound, 4),
    (WrongState, 5),
    (IdempotencyConflict, 5),
    (TimeoutError, 6),
    (FerrymanError, 1),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--redis-url", metavar="URL", help="The Redis or Valkey server  [env: REDIS_URL]")
@click.version_option(package_name="ferryman")
@click.pass_context
def cli(context: click.Context, redis_url: str | None) -> None:
    """A job service on Redis: jobs over HTTP, Python workers, retries, dead letters.

    \b
    Examples:
      ferryman up                                          everything in this terminal
      ferryman enqueue uppercase '{"input":"hello"}' --wait 5
      ferryman dlq list
    """
    context.obj = redis_url


for command in (*serve.COMMANDS, *jobs.COMMANDS, *health.COMMANDS):
    cli.add_command(command)


def main(args: list[str] | None = None) -> Any:
    """Run the command line; ends the process with its exit code."""
    try:
        code = cli.main(args, standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (FerrymanError, TimeoutError) as error:
        click.echo(f"ferryman: {error}", err=True)
        code = next(number for kind, number in _CODES if isinstance(error, kind))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `ferryman ... | head` has read enough
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
