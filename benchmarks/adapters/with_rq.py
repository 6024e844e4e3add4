"""RQ: a process per job (its default) or, as BENCH_VARIANT simple, in the worker's own."""

import os

import common
from redis import Redis
from rq import Queue, SimpleWorker, Worker

connection = Redis.from_url(common.URL)
queue = Queue(connection=connection)


def noop(text):
    common.note()


def send(text):
    queue.enqueue("with_rq.noop", text, result_ttl=0)


def send_many(texts):
    prepared = [Queue.prepare_data("with_rq.noop", (text,), result_ttl=0) for text in texts]
    queue.enqueue_many(prepared)


def work():
    kind = SimpleWorker if os.environ.get("BENCH_VARIANT") == "simple" else Worker
    kind([queue], connection=connection).work(logging_level="WARNING")


if __name__ == "__main__":
    common.main(globals())
