"""The HTTP API. A job's way begins in `routes.jobs`; `app.create_app` puts the rooms together."""
