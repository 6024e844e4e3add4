"""streaQ; results not kept."""

import contextlib

import common
from streaq import Worker

worker = Worker(redis_url=common.URL, concurrency=32, anyio_kwargs={"use_uvloop": True})


@worker.task(ttl=0, name="noop")
async def noop(text: str) -> None:
    common.note()


@contextlib.asynccontextmanager
async def opened():
    async with worker:
        yield


async def send(text):
    await noop.enqueue(text)


async def send_many(texts):
    await worker.enqueue_many([noop.enqueue(text) for text in texts])


if __name__ == "__main__":
    common.main(globals())
