"""taskiq-redis; BENCH_VARIANT list (BRPOP) or stream (XREADGROUP)."""

import contextlib
import os

import common
from taskiq_redis import ListQueueBroker, RedisStreamBroker

Broker = RedisStreamBroker if os.environ.get("BENCH_VARIANT") == "stream" else ListQueueBroker
broker = Broker(common.URL)


@broker.task(task_name="noop")
async def noop(text: str) -> None:
    common.note()


@contextlib.asynccontextmanager
async def opened():
    await broker.startup()
    yield
    await broker.shutdown()


async def send(text):
    await noop.kiq(text)


if __name__ == "__main__":
    common.main(globals())
