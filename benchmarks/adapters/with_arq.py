"""arq on uvloop; results not kept."""

import asyncio
import contextlib

import common
import uvloop
from arq import create_pool
from arq.connections import RedisSettings

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
server = RedisSettings.from_dsn(common.URL)
pool = None


async def noop(ctx, text):
    common.note()


class WorkerSettings:
    functions = [noop]  # noqa: RUF012  # arq reads it so
    redis_settings = server
    max_jobs = 500
    keep_result = 0


@contextlib.asynccontextmanager
async def opened():
    global pool  # noqa: PLW0603  # made in the running loop
    pool = await create_pool(server)
    yield
    await pool.aclose()


async def send(text):
    await pool.enqueue_job("noop", text)


if __name__ == "__main__":
    common.main(globals())
