"""The body: what is not JSON as the standard has it is refused, and nothing is half done."""

import io
import json

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from ferryman_api.parse import raw_body


def post(client, data, **options):
    return client.post("/jobs", data=data, content_type="application/json", **options)


def nested(depth):
    return b'{"type":"a","payload":' + b"[" * depth + b"]" * depth + b"}"


MALFORMED = {
    "nothing": b"",
    "a blank": b" ",
    "a word": b"hello",
    "cut short": b'{"type":"a"',
    "a comma too many": b'{"type":"a",}',
    "two values": b'{"type":"a"}{"type":"a"}',
    "single quotes": b"{'type':'a'}",
    "a comment": b'{"type":"a"} // no',
    "NaN": b'{"type":"a","payload":NaN}',
    "Infinity": b'{"type":"a","payload":[-Infinity]}',
    "a name twice": b'{"type":"a","type":"b"}',
    "a name twice, deep": b'{"type":"a","payload":[{"x":{"y":1,"y":1}}]}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"a"}',
    "UTF-16": '{"type":"a"}'.encode("utf-16"),
    "bytes that are not UTF-8": b'{"type":"\xff"}',
    "a surrogate in UTF-8": b'{"type":"a","payload":"\xed\xa0\x80"}',
    "half a surrogate pair": b'{"type":"a","payload":"\\ud800"}',
    "the other half": b'{"type":"a","payload":{"\\uDFFF":1}}',
    "a pair the wrong way round": b'{"type":"a","payload":"\\udc00\\ud800"}',
    "a bare control character": b'{"type":"a","payload":"\n"}',
    "an integer of 4,301 digits": b'{"type":"a","payload":' + b"1" * 4301 + b"}",
    "65 levels": nested(65),
    "1,000 levels": nested(1_000),
    "100,000 levels": nested(100_000),
    "only brackets": b"[" * 1_000_000,
    "65 levels of objects": b'{"payload":' + b'{"a":' * 65 + b"1" + b"}" * 66,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_json_is_400(client, store, name):
    answer = post(client, MALFORMED[name])
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "https://ferryman.dev/problems/malformed-body"
    assert answer.json["detail"]
    assert store.stats().total == 0


FINE = {
    "64 levels": nested(64),
    "many brackets side by side": json.dumps({"type": "a", "payload": [[]] * 10_000}).encode(),
    "brackets in a text": json.dumps({"type": "a", "payload": "[{" * 10_000}).encode(),
    "a surrogate pair": b'{"type":"a","payload":"\\ud83d\\ude00"}',
    "a backslash before u": b'{"type":"a","payload":"\\\\ud800"}',
    "NUL": b'{"type":"a","payload":"\\u0000"}',
    "an integer of 4,300 digits": b'{"type":"a","payload":' + b"1" * 4300 + b"}",
    "blanks around": b' \r\n\t{"type":"a"} ',
}


@pytest.mark.parametrize("name", FINE)
def test_unusual_json_is_taken(client, name):
    answer = post(client, FINE[name])
    assert answer.status_code == 201
    expected = json.loads(FINE[name]).get("payload", {})
    assert client.get(f"/jobs/{answer.json['job_id']}").json["payload"] == expected


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"true"])
def test_json_that_is_no_object_is_422(client, body):
    answer = post(client, body)
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": "", "detail": "expected an object"}]


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"]
)
def test_another_media_type_is_415(client, store, kind):
    answer = client.post("/jobs", data=b'{"type":"a"}', content_type=kind)
    assert answer.status_code == 415
    assert answer.json["type"] == "https://ferryman.dev/problems/unsupported-media-type"
    assert store.stats().total == 0


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_parameter_of_the_media_type_is_taken(client, kind):
    assert client.post("/jobs", data=b'{"type":"a"}', content_type=kind).status_code == 201


def body_of(size):
    frame = b'{"type":"a","payload":""}'
    return frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]


def chunked(client, data):
    # What gunicorn hands over when no length was named.
    stream = io.BytesIO(data)
    return client.post(
        "/jobs",
        input_stream=stream,
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )


@pytest.mark.parametrize("send", [post, chunked])
def test_a_body_of_max_body_bytes_is_taken_and_one_more_is_413(make_client, store, send):
    client = make_client(max_body=2048)
    assert send(client, body_of(2048)).status_code == 201
    answer = send(client, body_of(2049))
    assert answer.status_code == 413
    assert answer.json["type"] == "https://ferryman.dev/problems/body-too-large"
    assert "2048" in answer.json["detail"]
    assert store.stats().total == 1


def test_a_body_that_says_it_is_too_large_is_refused_unread():
    class Unread(io.RawIOBase):
        def read(self, size=-1):
            raise AssertionError(f"{size} bytes were asked for")

    environ = {"CONTENT_LENGTH": str(10**12), "wsgi.input": Unread()}
    with pytest.raises(RequestEntityTooLarge):
        raw_body(environ, 2048)


def test_what_is_no_utf_8_is_told_by_its_place(client):
    answer = post(client, b'{"type":"a\xe9"}')
    assert answer.status_code == 400
    assert answer.json["detail"] == "not UTF-8 at byte 10"


def test_a_body_shorter_than_it_said_is_400(client, store):
    answer = client.post(
        "/jobs",
        input_stream=io.BytesIO(b'{"type":"a"}'),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "100"},
    )
    assert answer.status_code == 400
    assert answer.json["detail"] == "the body ended after 12 of 100 bytes"
    assert store.stats().total == 0


class Broken(io.BytesIO):
    """A connection that fails while the body is read, in a way only the server knows."""

    def read(self, size=-1):
        raise RuntimeError("chunk")


def test_a_body_that_breaks_off_is_400(client, store):
    answer = client.post(
        "/jobs",
        input_stream=Broken(),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "9"},
    )
    assert answer.status_code == 400
    assert store.stats().total == 0
