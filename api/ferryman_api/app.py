"""The application: routes, errors and a log line for each request, around one store."""

from __future__ import annotations

from flask_openapi.models.info import Info

from ferryman import config
from ferryman.config import Settings
from ferryman.store import Store
from ferryman_api import problems
from ferryman_api.access import AccessLog
from ferryman_api.bodies import Problem
from ferryman_api.context import Api
from ferryman_api.marks import Marks
from ferryman_api.metrics import installed_version
from ferryman_api.routes import health, jobs, metrics, openapi, stats
from ferryman_api.traffic import Traffic

TIMEOUT, TRIES = 0.5, 2
"""Redis may cost a request 1 s. A health check that waits for a thread behind such requests
still answers within 2 s, with its own PROBE_TIMEOUT on top."""

PROBE_TIMEOUT = 0.5


def create_app(settings: Settings | None = None, store: Store | None = None) -> Api:
    """The API on `store`; both from the environment when not given.

    For a server of your own: `gunicorn "ferryman_api.app:create_app()"`.
    """
    app = Api(
        __name__,
        info=Info(title="Ferryman", version=installed_version()),
        validation_error_model=Problem,
        validation_error_callback=problems.bad_query,
        doc_ui=False,
        static_folder=None,
    )
    app.openapi_version = "3.1.0"
    app.settings = settings or config.load()
    app.store = store or Store(app.settings, timeout=TIMEOUT, tries=TRIES)
    app.probe = Store(app.settings, app.store.keys, timeout=PROBE_TIMEOUT, tries=1)
    app.traffic, app.marks = Traffic(), Marks()
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # a redirect would be HTML
    for room in (jobs, stats, health, metrics, openapi):
        app.register_api(room.routes)
    app.register_error_handler(Exception, problems.answer)
    app.wsgi_app = AccessLog(app.wsgi_app, app.traffic)  # type: ignore[method-assign]  # as Flask's docs do
    return app
