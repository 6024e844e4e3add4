"""WakaQ."""

import urllib.parse

import common
from wakaq import Queue, WakaQ

server = urllib.parse.urlsplit(common.URL)
wakaq = WakaQ(
    queues=[Queue("default", priority=0)],
    host=server.hostname,
    port=server.port,
    concurrency=2,
)


@wakaq.task(queue="default")
def noop(text):
    common.note()


send = noop.delay

if __name__ == "__main__":
    common.main(globals())
