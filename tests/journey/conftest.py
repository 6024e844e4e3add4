"""What the journeys share: a site with workers, and a house for `ferryman up`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.journey.houses import House
from tests.journey.sites import Site

from ferryman.embedded import EmbeddedServer


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A folder of its own for `ferryman up`."""
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def make_site(
    start_server: Callable[..., EmbeddedServer], tmp_path: Path
) -> Iterator[Callable[..., Site]]:
    """Makes a site on a server with these options; in Redis all is well at the end."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Site:
            site = Site(start_server(**options), tmp_path)
            stack.callback(site.close)
            sites.append(site)
            return site

        sites: list[Site] = []
        yield make
        for site in sites:
            for program in site.programs:
                program.destroy()
            assert site.faults() == []


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A site whose server keeps nothing."""
    return make_site()
