"""Huey."""

import common
from huey import RedisHuey

huey = RedisHuey("bench", url=common.URL)


@huey.task(name="noop")
def noop(text):
    common.note()


send = noop

if __name__ == "__main__":
    import with_huey  # under the name the consumer knows its tasks by

    common.main(vars(with_huey))
