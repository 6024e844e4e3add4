"""Dramatiq on Redis, its default middleware."""

import common
import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=common.URL))


@dramatiq.actor(actor_name="noop")
def noop(text):
    common.note()


send = noop.send

if __name__ == "__main__":
    common.main(globals())
