"""SAQ on uvloop; results not kept."""

import asyncio
import contextlib

import common
import uvloop
from saq import Queue

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(common.URL)


async def noop(ctx, *, text):
    common.note()


settings = {"queue": queue, "functions": [noop], "concurrency": 10}


@contextlib.asynccontextmanager
async def opened():
    await queue.connect()
    yield
    await queue.disconnect()


async def send(text):
    await queue.enqueue("noop", text=text, ttl=-1)


if __name__ == "__main__":
    common.main(globals())
