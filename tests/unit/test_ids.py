"""Ids: UUID version 7 whose last byte is the shard."""

from __future__ import annotations

import uuid

from ferryman.ids import new_id, shard_of


def test_an_id_is_a_version_7_uuid_and_names_its_shard() -> None:
    job_id = new_id(shard=7)
    assert uuid.UUID(job_id).version == 7
    assert shard_of(job_id) == 7


def test_ids_differ_and_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)


def test_an_id_chosen_by_the_client_names_no_shard() -> None:
    assert shard_of("order-4711") is None
    assert shard_of("01a20405-0c94-7135-b522-983859c542zz") is None
