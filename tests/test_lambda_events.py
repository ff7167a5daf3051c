"""What AWS Lambda hands over, and what goes back: events of API Gateway, of function URLs and of S3."""

import asyncio
import base64
import io
import json
import math
import os
import subprocess
import sys
from typing import Any

import psutil
import pytest
from lambda_runtime import runtime_api
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from container import start
from diascope.errors import InputError
from serving import memory
from serving.in_process import Answered, Asked, InProcess
from serving.lambda_http import BadEvent, asked, refused, reply
from serving.lambda_s3 import Objects, Unfinished, is_notification, results_place

IMAGE = bytes(range(256))


def version_2(method: str = "POST", path: str = "/invocations", **more: Any) -> dict[str, Any]:
    context = {"http": {"method": method, "path": path, "sourceIp": "198.51.100.7"}, "stage": "$default"}
    return {"version": "2.0", "rawPath": path, "rawQueryString": "", "requestContext": context, **more}


def version_1(method: str = "POST", path: str = "/invocations", **more: Any) -> dict[str, Any]:
    return {"resource": "/{proxy+}", "httpMethod": method, "path": path, "requestContext": {}, **more}


# Requests


@pytest.mark.parametrize("event", [version_1, version_2])
def test_a_body_is_read_as_it_was_sent(event):
    encoded = base64.b64encode(IMAGE).decode()
    found = asked(event(body=encoded, isBase64Encoded=True, headers={"Content-Type": "image/png"}))
    assert found == Asked("POST", "/invocations", "", {"Content-Type": "image/png"}, IMAGE)
    assert asked(event(body="grün", isBase64Encoded=False)).body == "grün".encode()
    assert asked(event("GET", "/ping", body=None, headers=None)) == Asked("GET", "/ping")


def test_the_address_has_its_query():
    assert asked(version_2(rawQueryString="part=map&class_name=a%20b")).query == "part=map&class_name=a%20b"
    many = version_1(multiValueQueryStringParameters={"a": ["1 2", "3"]}, queryStringParameters={"a": "3"})
    assert asked(many).query == "a=1+2&a=3"
    assert asked(version_1(queryStringParameters={"a": "3"})).query == "a=3"


def test_headers_that_come_twice_are_joined():
    found = asked(version_1(multiValueHeaders={"Accept": ["a", "b"]}, headers={"Accept": "b"}))
    assert found.headers == {"Accept": "a, b"}


@pytest.mark.parametrize(
    ("path", "stage", "expected"),
    [
        ("/prod/ping", "prod", "/ping"),
        ("/prod", "prod", "/"),
        ("/production/ping", "prod", "/production/ping"),
        ("/ping", "$default", "/ping"),
    ],
)
def test_the_stage_is_no_part_of_the_address(path, stage, expected):
    event = version_2(path=path)
    event["requestContext"]["stage"] = stage
    assert asked(event).path == expected


@pytest.mark.parametrize("event", [None, [], "text", 7, {}, {"Records": []}, {"image": "x"}, {"version": "1.0"}])
def test_what_is_no_request_is_named(event):
    with pytest.raises(
        BadEvent, match="neither a request of API Gateway or of a function URL nor a notification of S3"
    ):
        asked(event)


@pytest.mark.parametrize(
    ("event", "place"),
    [
        (version_2(body=7), "body"),
        (version_2(headers=["a"]), "headers"),
        (version_2(requestContext=None), "requestContext"),
        (version_2(requestContext={"http": {}}), r"requestContext\.http\.method"),
        (version_2(isBase64Encoded="yes"), "isBase64Encoded"),
        (version_1(path=None), "path"),
        (version_1(multiValueHeaders={"a": "b"}), r"multiValueHeaders\.a"),
    ],
)
def test_the_part_that_is_wrong_is_named(event, place):
    with pytest.raises(BadEvent, match=rf"^The event's {place} cannot be used: "):
        asked(event)


@pytest.mark.parametrize("body", ["not base64", "a", "äöü=", "QUJD\nQUJD "])
def test_a_body_that_is_not_base64_is_refused(body):
    with pytest.raises(BadEvent, match="body is not base64"):
        asked(version_2(body=body, isBase64Encoded=True))


def test_text_goes_back_as_text_and_pictures_as_base64():
    told = reply(Answered(200, {"content-type": "application/json", "content-length": "2", "x": "y"}, b"{}"))
    expected = {"content-type": "application/json", "x": "y"}
    assert told == {"statusCode": 200, "headers": expected, "body": "{}", "isBase64Encoded": False}
    drawn = reply(Answered(200, {"content-type": "image/png"}, IMAGE))
    assert (base64.b64decode(drawn["body"]), drawn["isBase64Encoded"]) == (IMAGE, True)
    assert reply(Answered(304, {}, b""))["body"] == ""


def test_a_refusal_has_the_shape_of_all_errors():
    told = refused("Nothing was sent.")
    assert (told["statusCode"], json.loads(told["body"])) == (400, {"error": "Nothing was sent."})


# The application without a socket


@pytest.fixture
def echo():
    started: list[str] = []

    async def answer(request: Request) -> Response:
        body = await request.body()
        told = {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "type": request.headers.get("content-type"),
            "length": request.headers["content-length"],
            "body": len(body),
            "gone": await request.is_disconnected(),
        }
        response = Response(json.dumps(told), 201, media_type="application/json")
        response.raw_headers += [(b"vary", b"a"), (b"vary", b"b")]
        return response

    class Lifespan:
        def __init__(self, _: Starlette) -> None: ...

        async def __aenter__(self) -> None:
            started.append("start")
            self.loop = asyncio.get_running_loop()

        async def __aexit__(self, *_: object) -> None:
            started.append("end")

    app = Starlette(routes=[Route("/a b", answer, methods=["POST", "GET"])], lifespan=Lifespan)
    return InProcess(app), started


def test_a_request_arrives_as_over_a_socket(echo):
    service, started = echo
    for _ in range(3):
        given = Asked("POST", "/a%20b", "c=d", {"Content-Type": "image/png", "Content-Length": "9"}, b"12345")
        answered = service.ask(given)
        assert (answered.status, answered.headers["vary"]) == (201, "a, b")
        assert json.loads(answered.body) == {
            "method": "POST",
            "path": "/a b",
            "query": "c=d",
            "type": "image/png",
            "length": "5",
            "body": 5,
            "gone": False,
        }
    assert started == ["start"]
    service.close()
    assert started == ["start", "end"]


def test_head_has_no_content(echo):
    service, _ = echo
    assert service.ask(Asked("HEAD", "/a%20b")).body == b""
    assert service.ask(Asked("GET", "/nothing")).status == 404
    service.close()


# Where Lambda starts it


def test_lambda_is_told_why_it_does_not_start(tmp_path):
    with runtime_api() as api:
        environment = os.environ | {"AWS_LAMBDA_RUNTIME_API": api.address, "DIASCOPE_RESULTS": "nowhere"}
        done = subprocess.run(
            [sys.executable, start.__file__, "whatever Lambda gives"], env=environment, capture_output=True, timeout=60
        )
        said = api.said.get(timeout=10)
    assert (done.returncode, said.kind, said.error_type) == (1, "init", "InputError")
    assert said.content["errorMessage"].startswith("DIASCOPE_RESULTS is 'nowhere': give a bucket and a prefix")


# Memory


def test_the_memory_of_a_sandbox_is_a_limit(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", raising=False)
    assert memory.room(1, tmp_path).pixels == math.inf
    taken = psutil.Process().memory_info().rss // 2**20  # this process has run other tests and may be large
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", str(taken + 1024))
    assert 0.6 * 2**29 / 16 < memory.room(1, tmp_path).pixels < 0.6 * 2**31 / 16


# Objects in buckets


class Bucket:
    """As much of a client for S3 as is used."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {key.replace("__", "/"): data for key, data in objects.items()}
        self.metadata: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, Any]] = []
        self.put: list[dict[str, Any]] = []
        self.refuse: dict[str, str] = {}

    def get_object(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        self._check("GetObject", asked)
        data = self.objects[asked["Key"]]
        return {
            "Body": io.BytesIO(data),
            "ContentLength": len(data),
            "Metadata": self.metadata.get(asked["Key"], {}),
        }

    def put_object(self, **asked: Any) -> None:
        self._check("PutObject", asked)
        self.put.append(asked)

    def _check(self, operation: str, asked: dict[str, Any]) -> None:
        from botocore.exceptions import ClientError

        code = self.refuse.get(
            operation, "" if asked["Key"] in self.objects or operation == "PutObject" else "NoSuchKey"
        )
        if code:
            raise ClientError({"Error": {"Code": code}}, operation)


def answer(request: Asked) -> Answered:
    """A service that knows one image."""
    assert (request.method, request.path) == ("POST", "/invocations")
    assert request.headers == {"x-api-key": "k", "content-type": "application/octet-stream"}
    if request.body == b"broken":
        return Answered(415, {}, b'{"error": "image is not an image."}')
    if request.body == b"busy":
        return Answered(503, {}, b'{"error": "The service is busy; try again in a second."}')
    return Answered(200, {}, json.dumps({"label": request.body.decode()}).encode())


def objects(bucket: Bucket, results: str | None = None, limit: int = 10) -> Objects:
    place = results_place({"DIASCOPE_RESULTS": results} if results else {})
    return Objects(answer, bucket, limit, {"x-api-key": "k"}, place)


def notification(*keys: str, name: str = "ObjectCreated:Put", **more: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": name,
                "s3": {"bucket": {"name": "scans"}, "object": {"key": key, "size": 1, **more}},
            }
            for key in keys
        ]
    }


def test_each_object_is_answered():
    found = objects(Bucket(a=b"across", b=b"along")).answer(notification("a", "b"))
    assert found == {
        "answers": [
            {"bucket": "scans", "key": "a", "label": "across"},
            {"bucket": "scans", "key": "b", "label": "along"},
        ]
    }


def test_names_are_decoded_and_the_version_is_the_one_of_the_event():
    bucket = Bucket()
    bucket.objects["ward 7/ü+.png"] = b"a"
    objects(bucket).answer(notification("ward+7/%C3%BC%2B.png", versionId="3"))
    assert bucket.asked == [{"Bucket": "scans", "Key": "ward 7/ü+.png", "VersionId": "3"}]


def test_one_bad_file_does_not_spoil_the_others():
    bucket = Bucket(bad=b"broken", big=b"0" * 11, good=b"a")
    event = notification("bad", "big", "gone", "good")
    event["Records"].insert(0, {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {}}})
    told = objects(bucket).answer(event)["answers"]
    assert told[0] == {"error": "The record's s3.bucket.name cannot be used.", "status": 400}
    assert [each.get("status") for each in told[1:]] == [415, 413, 404, None]
    assert told[1]["error"] == "image is not an image."
    assert told[2]["error"] == "The object is larger than 1e-05 MB."
    assert told[4]["label"] == "a"


def test_answers_are_written_where_that_is_said():
    bucket = Bucket(ward__a=b"across", bad=b"broken")
    told = objects(bucket, "s3://answers/of/us/").answer(notification("ward/a", "bad"))["answers"]
    assert [each["result"] for each in told] == [
        "s3://answers/of/us/scans/ward/a.json",
        "s3://answers/of/us/scans/bad.json",
    ]
    first, second = bucket.put
    assert (first["Bucket"], first["Key"], first["ContentType"]) == (
        "answers",
        "of/us/scans/ward/a.json",
        "application/json",
    )
    assert json.loads(first["Body"]) == {"bucket": "scans", "key": "ward/a", "label": "across"}
    assert json.loads(second["Body"])["status"] == 415


def test_results_are_never_answered():
    bucket = Bucket(out__scans__a__json=b"{}", out=b"a", elsewhere=b"{}")
    bucket.metadata["elsewhere"] = {"diascope": "result"}
    told = objects(bucket, "s3://scans/out").answer(notification("out/scans/a/json", "elsewhere", "out"))["answers"]
    assert [("skipped" in each, "label" in each) for each in told] == [(True, False), (True, False), (False, True)]
    assert [each["Key"] for each in bucket.asked] == ["elsewhere", "out"]  # the first is not even fetched
    assert [each["Key"] for each in bucket.put] == ["out/scans/out.json"]
    assert bucket.put[0]["Metadata"] == {"diascope": "result"}  # which is what marks it


def test_what_brings_no_image_is_passed_over():
    told = objects(Bucket()).answer(notification("a", name="ObjectRemoved:Delete"))["answers"]
    assert told == [{"bucket": "scans", "key": "a", "skipped": "ObjectRemoved:Delete brings no image."}]


@pytest.mark.parametrize(
    ("refused", "code", "said"),
    [
        ("GetObject", "SlowDown", r"1 of 2 objects are unanswered: reading an object failed \(SlowDown\)\."),
        ("GetObject", "AccessDenied", r"reading an object failed \(AccessDenied\)\."),
    ],
)
def test_an_event_is_tried_again_where_it_is_not_the_objects_fault(refused, code, said):
    class Sometimes(Bucket):
        def get_object(self, **asked: Any) -> dict[str, Any]:
            self.refuse = {refused: code} if asked["Key"] == "patient" else {}
            return super().get_object(**asked)

    bucket = Sometimes(patient=b"a", b=b"b")
    with pytest.raises(Unfinished, match=said) as caught:
        objects(bucket, "s3://answers/out").answer(notification("patient", "b"))
    assert "patient" not in str(caught.value)  # it goes to the log, where no name belongs
    assert [each["Key"] for each in bucket.put] == ["out/scans/b.json"]  # the others are done


def test_answers_that_cannot_be_written_are_tried_again():
    bucket = Bucket(a=b"a")
    bucket.refuse["PutObject"] = "AccessDenied"
    with pytest.raises(Unfinished, match=r"writing an object failed \(AccessDenied\)"):
        objects(bucket, "s3://answers/out").answer(notification("a"))


def test_a_service_that_is_busy_is_asked_again():
    with pytest.raises(Unfinished, match="The service is busy"):
        objects(Bucket(a=b"busy")).answer(notification("a"))


def test_what_s3_sends_is_told_apart():
    assert is_notification(notification("a"))
    assert is_notification({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "scans"})
    assert objects(Bucket()).answer({"Service": "Amazon S3", "Event": "s3:TestEvent"}) == {"answers": []}
    others = [None, {}, {"Records": []}, {"Records": "x"}, {"Records": [7]}, {"Records": [{"eventSource": "aws:sqs"}]}]
    assert not any(is_notification(event) for event in others)


@pytest.mark.parametrize(
    "text", ["s3://bucket", "s3://bucket/", "bucket/prefix", "https://bucket/prefix", "s3:///prefix"]
)
def test_results_need_a_bucket_and_a_prefix(text):
    with pytest.raises(InputError, match="give a bucket and a prefix, s3://bucket/prefix"):
        results_place({"DIASCOPE_RESULTS": text})
