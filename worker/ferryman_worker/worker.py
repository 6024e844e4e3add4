"""`ferryman worker`: checks that everything is in place, then supervises."""

from __future__ import annotations

import sys

from ferryman import logs
from ferryman.config import Settings
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.store import Store
from ferryman_worker.supervisor import Supervisor, preload


def work(settings: Settings) -> int:
    """Run a worker until it is stopped; its exit code (0 stopped, 2 broken app, 3 no Redis)."""
    logs.configure(settings)
    store = Store(settings, timeout=2.0, tries=1)
    try:
        store.check_server()
    except (StoreUnavailable, ConfigError) as error:
        print(f"ferryman worker: {error}", file=sys.stderr)
        return 3 if isinstance(error, StoreUnavailable) else 2
    store.close()
    preload()
    return Supervisor(settings).run()
