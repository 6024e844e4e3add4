"""GET /dlq: dead letters, newest first, in pages that skip none while letters come and go."""

import pytest


@pytest.fixture
def dead(hand, post):
    """Makes so many dead letters; gives their ids, oldest first."""

    def dead(number, **fields):
        ids = [post(**fields) for _ in range(number)]
        for job in hand.begin(number):
            hand.bury(job)
        return ids

    return dead


def walk(client, query=""):
    cursor, pages = "", []
    while True:
        page = client.get(f"/dlq?{query}{cursor}").json
        pages.append([job["id"] for job in page["items"]])
        if "next_cursor" not in page:
            return pages
        cursor = f"&cursor={page['next_cursor']}"


def test_no_dead_letters_are_an_empty_page(client, post):
    post()
    assert client.get("/dlq").json == {"items": [], "scanned": 0}


def test_dead_letters_are_shown_newest_first_as_one_by_one(client, dead):
    made = dead(3)
    page = client.get("/dlq").json
    assert page["items"] == [client.get(f"/jobs/{i}").json for i in reversed(made)]
    assert page["items"][0]["error"] == "boom"


@pytest.mark.parametrize("limit", [1, 7, 20, 200])
def test_pages_together_hold_every_letter_once(client, dead, limit):
    made = dead(45)
    pages = walk(client, f"limit={limit}")
    assert [i for page in pages for i in page] == made[::-1]
    assert all(len(page) == limit for page in pages[:-1])


def test_letters_that_come_meanwhile_neither_hide_nor_repeat_any(client, dead):
    made, seen, cursor = dead(20), [], ""
    while len(seen) < 20:
        dead(3)
        page = client.get(f"/dlq?limit=5{cursor}").json
        seen += [job["id"] for job in page["items"] if job["id"] in made]
        cursor = f"&cursor={page.get('next_cursor')}"
    assert seen == made[::-1]


@pytest.mark.parametrize("gone", [slice(0, 4), slice(0, 12), slice(16, 20), slice(0, 20, 3)])
def test_letters_taken_out_meanwhile_hide_none_of_the_others(client, store, dead, gone):
    made = dead(20)
    page = client.get("/dlq?limit=5").json
    seen = {job["id"] for job in page["items"]}
    for job_id in made[gone]:
        store.revive(job_id)
    while "next_cursor" in page:
        page = client.get(f"/dlq?limit=5&cursor={page['next_cursor']}").json
        seen |= {job["id"] for job in page["items"]}
    assert seen >= set(made) - set(made[gone])


def test_filters_narrow_together(client, dead, hand):
    dead(2, type="mail")
    wanted = dead(2, type="mail", meta={"x": 1})[0]
    dead(1, type="image")
    page = client.get("/dlq?type=mail&queue=default").json
    assert (len(page["items"]), page["scanned"]) == (4, 5)
    assert wanted in {job["id"] for job in page["items"]}
    assert client.get("/dlq?type=none").json["items"] == []
    assert client.get("/dlq?queue=other").json["items"] == []


def test_a_job_that_was_just_revived_is_no_dead_letter(client, store, dead, monkeypatch):
    """Between the look at the list and at the record."""
    (job_id,) = dead(1)
    places = store.dead(None, 10)
    store.revive(job_id)
    monkeypatch.setattr(type(store), "dead", lambda *_: places)
    assert client.get("/dlq").json["items"] == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("cursor=!", "/cursor"), ("status=failed", "/status"), ("a=b", "/a")],
)
def test_a_wrong_parameter_is_422_and_named(client, query, pointer):
    answer = client.get(f"/dlq?{query}")
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == [pointer]


def test_redis_away_is_503(deaf):
    assert deaf.get("/dlq").status_code == 503
