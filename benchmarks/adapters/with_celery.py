"""Celery: results ignored, its default prefetch multiplier raised to 64."""

import common
from celery import Celery

app = Celery("with_celery", broker=common.URL)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="noop")
def noop(text):
    common.note()


send = noop.delay

if __name__ == "__main__":
    common.main(globals())
