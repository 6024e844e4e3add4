"""GET /jobs: pages, newest first, that neither skip nor repeat while jobs come and go."""

import base64

import pytest

from ferryman.draft import draft
from ferryman_api import listing


def walk(client, query=""):
    """Every page from the first to the last."""
    cursor, pages = "", []
    while True:
        page = client.get(f"/jobs?{query}{cursor}").json
        pages.append(page)
        if "next_cursor" not in page:
            return pages
        cursor = f"&cursor={page['next_cursor']}"


def ids(page):
    return [job["id"] for job in page["items"]]


def test_no_jobs_are_an_empty_page(client):
    assert client.get("/jobs").json == {"items": [], "scanned": 0}


def test_the_newest_come_first_as_they_are_shown_one_by_one(client, post):
    made = [post(payload=n) for n in range(3)]
    page = client.get("/jobs").json
    assert page["items"] == [client.get(f"/jobs/{i}").json for i in reversed(made)]


def test_a_page_holds_50_jobs_unless_told(client, store):
    made = store.enqueue([draft("a") for _ in range(60)])
    page = client.get("/jobs").json
    assert ids(page) == [job.id for job in reversed(made)][:50]
    assert "next_cursor" in page


@pytest.mark.parametrize("limit", [1, 7, 20, 21, 199, 200])
def test_pages_together_hold_every_job_once(client, store, limit):
    made = store.enqueue([draft("a") for _ in range(230)])
    pages = walk(client, f"limit={limit}")
    assert [i for page in pages for i in ids(page)] == [job.id for job in reversed(made)]
    assert all(len(ids(page)) == limit for page in pages[:-1])


def test_a_cursor_neither_skips_nor_repeats_while_jobs_are_created(client, store):
    made = [job.id for job in store.enqueue([draft("a") for _ in range(20)])]
    seen, cursor = [], ""
    while len(seen) < 20:
        store.enqueue([draft("new") for _ in range(7)])
        page = client.get(f"/jobs?limit=5{cursor}").json
        seen += [i for i in ids(page) if i in made]
        cursor = f"&cursor={page.get('next_cursor')}"
    assert seen == made[::-1]


def test_deleted_jobs_leave_no_gaps(client, store):
    made = [job.id for job in store.enqueue([draft("a") for _ in range(30)])]
    for job_id in made[::2]:
        store.delete(job_id)
    page = client.get("/jobs?limit=10").json
    assert ids(page) == made[::-1][::2][:10]


@pytest.fixture
def mixed(store, hand):
    """Jobs of every kind; the newest last."""
    for number in range(4):
        kind, queue = ("mail", "image")[number % 2], ("default", "bulk")[number // 2]
        store.enqueue([draft(kind, number, queue=queue)])
    (job,) = hand.begin()
    hand.finish(job)


@pytest.mark.parametrize(
    ("query", "payloads"),
    [
        ("status=completed", [0]),
        ("status=pending", [3, 2, 1]),
        ("status=failed", []),
        ("type=mail", [2, 0]),
        ("type=nothing", []),
        ("queue=bulk", [3, 2]),
        ("queue=default&type=mail", [0]),
        ("queue=default&type=mail&status=pending", []),
        ("status=pending&queue=bulk&type=image", [3]),
    ],
)
def test_filters_narrow_together(client, mixed, query, payloads):
    page = client.get(f"/jobs?{query}").json
    assert [job["payload"] for job in page["items"]] == payloads
    assert page["scanned"] == 4


def test_a_filter_pages_too(client, store):
    store.enqueue([draft(("a", "b")[n % 2], n) for n in range(50)])
    pages = walk(client, "type=a&limit=10")
    assert [job["payload"] for page in pages for job in page["items"]] == list(range(48, -1, -2))


def test_a_filter_reads_at_most_10_000_ids_a_call_and_says_so(client, store):
    first = store.enqueue([draft("rare")])[0].id
    for _ in range(11):
        store.enqueue([draft("a") for _ in range(1000)])
    page = client.get("/jobs?type=rare").json
    assert (page["items"], page["scanned"]) == ([], 10_000)
    page = client.get(f"/jobs?type=rare&cursor={page['next_cursor']}").json
    assert (ids(page), page["scanned"]) == ([first], 1_001)
    assert "next_cursor" not in page


def test_a_page_of_large_jobs_ends_early_and_goes_on(client, store, monkeypatch):
    monkeypatch.setattr(listing, "ENOUGH_TEXT", 1 << 20)
    made = store.enqueue([draft("a", "x" * 100_000) for _ in range(45)])
    pages = walk(client, "limit=200")
    assert [len(ids(page)) for page in pages] == [20, 20, 5]
    assert [i for page in pages for i in ids(page)] == [job.id for job in reversed(made)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=many", "/limit"),
        ("limit=", "/limit"),
        ("status=done", "/status"),
        ("status=", "/status"),
        ("cursor=", "/cursor"),
        ("cursor=!", "/cursor"),
        ("cursor=abc", "/cursor"),
        ("cursor=%E2%9B%B4", "/cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"9" * 30).decode(), "/cursor"),
        ("state=failed", "/state"),
        ("tag=a", "/tag"),
    ],
)
def test_a_wrong_parameter_is_422_and_named(client, query, pointer):
    answer = client.get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == [pointer]


def test_redis_away_is_503(deaf):
    assert deaf.get("/jobs").status_code == 503


def test_a_query_that_is_not_utf_8_is_422(client):
    """Werkzeug's client would quote it: the bytes go in as a server would hand them over."""
    answer = client.get("/jobs", environ_overrides={"QUERY_STRING": "type=\xb2"})
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": "", "detail": "the query is not UTF-8"}]
