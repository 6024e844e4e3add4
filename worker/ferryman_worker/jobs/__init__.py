"""The built-in job types, one module each; `docs/jobs.md` says what each takes and gives.

    ferryman worker --app ferryman_worker.jobs:ferry      # the default
    register(my_ferry)                                    # beside the types of your own application

Importing connects to nothing, opens no file and reads no setting.
"""

from ferryman import Ferryman
from ferryman_worker.jobs import analytics, email, image_resize, report, trials

__all__ = ["ferry", "register"]


def register(ferry: Ferryman) -> None:
    """Add every built-in type to an application; ConfigError when it has one of the names."""
    for module in (email, image_resize, report, analytics, trials):
        module.register(ferry)


ferry = Ferryman()
"""The application of a worker that was given none."""

register(ferry)
