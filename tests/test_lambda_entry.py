"""The image of the service as AWS Lambda runs it: its runtime API is spoken to for real, by Amazon's own client."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cloud
import lambda_runtime
import pytest
import served
import tiny
from engine import on_its_network
from lambda_runtime import RuntimeApi
from PIL import Image

from diascope import docker

ROOT = Path(__file__).resolve().parent.parent
NAME = f"diascope-lambda-test-{os.getpid()}"
LIKE_LAMBDA = (
    *("--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--user=993:990", "--ipc=none", "--tmpfs=/tmp:rw,size=512m"),  # nobody's user, and no shared memory
)
MODEL = f"/home/bentoml/bento/models/diascope/{served.NAME['name']}-{served.NAME['version']}"

pytestmark = pytest.mark.skipif(docker.find_engine() is None, reason="no Docker engine answers")


@dataclass(frozen=True)
class Sandbox:
    """A container that runs as on Lambda."""

    api: RuntimeApi
    name: str
    started: float  # time.monotonic

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "", **more: Any) -> dict[str, Any]:
        """A request through a function URL; its reply."""
        context = {"http": {"method": method, "path": path}, "stage": "$default"}
        event = {"version": "2.0", "rawPath": path, "rawQueryString": "", "requestContext": context, **more}
        event["headers"] = {"content-type": kind}
        if body is not None:
            event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        return self.reply(event)

    def reply(self, event: Any) -> Any:
        said = self.api.invoke(event)
        assert said.kind == "response", said.content
        return said.content

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr


@contextmanager
def sandbox(image: str, *options: str, **environment: str) -> Iterator[Sandbox]:
    with lambda_runtime.runtime_api() as api:
        name = f"{NAME}-{time.monotonic_ns()}"
        given = {
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
            "AWS_LAMBDA_FUNCTION_NAME": "diascope-demo",
            "_HANDLER": "",
            **environment,
        }
        told = [part for key, value in given.items() for part in ("--env", f"{key}={value}")]
        started = time.monotonic()
        subprocess.run(
            ["docker", "run", "--detach", "--name", name, *LIKE_LAMBDA, *told, *options, image],
            check=True,
            capture_output=True,
        )
        try:
            yield Sandbox(api, name, started)
        finally:
            subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service with a small network; its packages are those of every other image, and come from the build cache."""
    home = tmp_path_factory.mktemp("bentoml")
    served.store(home, tiny.classifier(1.0).root)
    environment = served.environment(home, DIASCOPE_MODEL="diascope:tiny-7")
    build = [sys.executable, "-m", "bentoml", "build", ".", "--name", NAME, "--version", "1"]
    subprocess.run(build, cwd=ROOT, env=environment, check=True, capture_output=True)
    export = "import bentoml, sys; bentoml.bentos.export_bento(sys.argv[1], sys.argv[2], output_format='folder')"
    context = home / "context"
    command = [sys.executable, "-c", export, f"{NAME}:1", str(context)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    with on_its_network():
        docker.build(context, f"{NAME}:1", {})
    shutil.rmtree(context)
    yield f"{NAME}:1"
    subprocess.run(["docker", "rmi", "--force", f"{NAME}:1"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def running(image: str) -> Iterator[Sandbox]:
    with sandbox(image, DIASCOPE_MAX_UPLOAD_MB="1", DIASCOPE_RESULTS="s3://answers/out") as found:
        yield found


@pytest.fixture(scope="module")
def picture() -> bytes:
    return tiny.png(tiny.stripes(1, 3))


def multipart(data: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'
    return head + data + b"\r\n--b--\r\n"


# Requests


def test_it_answers_as_the_classifier_does(running, picture):
    reply = running.ask("POST", "/invocations", picture, "image/png")
    assert reply["statusCode"] == 200, reply
    assert reply["headers"]["content-type"] == "application/json"
    answer = json.loads(reply["body"])
    expected = tiny.classifier(1.0).predict([picture])
    assert answer["label"] == expected.labels[0]
    assert list(answer["probabilities"].values()) == pytest.approx(expected.probabilities[0], abs=1e-3)
    assert answer["model"] == served.NAME


def test_a_form_is_answered_the_same(running, picture):
    raw = json.loads(running.ask("POST", "/invocations", picture, "image/png")["body"])
    form = running.ask("POST", "/predict", multipart(picture), "multipart/form-data; boundary=b")
    first = {
        "resource": "/predict",
        "httpMethod": "POST",
        "path": "/predict",
        "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        "multiValueHeaders": {"Content-Type": ["multipart/form-data; boundary=b"]},
        "requestContext": {"stage": "prod"},
        "body": base64.b64encode(multipart(picture)).decode(),
        "isBase64Encoded": True,
    }
    for reply in (form, running.reply(first)):
        answer = json.loads(reply["body"])
        assert (reply["statusCode"], answer["probabilities"]) == (200, raw["probabilities"])


def test_everything_else_is_there(running, picture):
    assert [running.ask("GET", path)["statusCode"] for path in ("/ping", "/readyz", "/", "/docs")] == [200] * 4
    assert json.loads(running.ask("GET", "/model")["body"])["model"]["name"] == "tiny"
    drawn = running.ask(
        "POST", "/explain", multipart(picture), "multipart/form-data; boundary=b", rawQueryString="part=map"
    )
    assert (drawn["statusCode"], drawn["isBase64Encoded"]) == (200, True)
    assert drawn["headers"]["x-caution"]
    assert Image.open(io.BytesIO(base64.b64decode(drawn["body"]))).format == "PNG"
    metrics = running.ask("GET", "/metrics")["body"]
    assert "diascope_predictions_total" in metrics
    assert running.ask("HEAD", "/ping")["body"] == ""


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status"),
    [
        ("POST", "/invocations", b"", "image/png", 400),
        ("POST", "/invocations", b"not an image", "image/png", 415),
        ("POST", "/invocations", b"x", "text/plain", 415),
        ("POST", "/invocations", b"0" * 1_000_001, "image/png", 413),
        ("POST", "/predict", b"x", "multipart/form-data; boundary=b", 400),
        ("GET", "/invocations", None, "", 405),
        ("GET", "/nothing", None, "", 404),
    ],
)
def test_what_the_service_refuses_is_refused_the_same(running, method, path, body, kind, status):
    reply = running.ask(method, path, body, kind)
    assert reply["statusCode"] == status
    assert json.loads(reply["body"])["error"].endswith(".")


@pytest.mark.parametrize(
    "event",
    [[], "text", 7, None, {}, {"image": "x"}, {"Records": []}, {"Records": [{"eventSource": "aws:sqs", "body": "x"}]}],
)
def test_a_bad_event_gets_400_and_one_sentence(running, event):
    reply = running.reply(json.dumps(event))
    assert (reply["statusCode"], reply["isBase64Encoded"]) == (400, False)
    assert json.loads(reply["body"])["error"].startswith("The event is neither")


def test_a_body_that_is_not_base64_gets_400(running):
    context = {"http": {"method": "POST", "path": "/invocations"}}
    event = {"version": "2.0", "rawPath": "/invocations", "requestContext": context}
    reply = running.reply({**event, "body": "%%%", "isBase64Encoded": True})
    assert (reply["statusCode"], "not base64" in reply["body"]) == (400, True)


def test_what_is_not_json_is_an_error_that_does_not_end_it(running):
    said = running.api.invoke("{")
    assert (said.kind, said.error_type or said.content["errorType"]) == ("error", "Runtime.UnmarshalError")
    assert running.ask("GET", "/ping")["statusCode"] == 200


def test_the_model_is_loaded_once_and_before_the_first_event(running, picture):
    for _ in range(3):
        running.ask("POST", "/invocations", picture, "image/png")
    logs = running.logs()
    assert logs.count("Serving tiny version 7.") == 1
    assert "not recorded" not in logs  # nothing is written that would be gone with the sandbox
    assert "images may have" in logs  # its memory is known


def test_it_starts_and_answers_quickly(image, picture, record_property):
    with sandbox(image) as found:
        first = found.api.invoke({"version": "2.0", "rawPath": "/ping", "requestContext": {"http": {"method": "GET"}}})
        cold, init = first.at - found.started, found.api.asked_at[0] - found.started
        took = []
        for _ in range(30):
            start = time.monotonic()
            found.ask("POST", "/invocations", picture, "image/png")
            took.append(1000 * (time.monotonic() - start))
    figures = {"init_s": round(init, 2), "first_answer_s": round(cold, 2), "image_ms": round(median(took), 1)}
    for key, value in figures.items():
        record_property(key, value)
    print(figures)
    assert first.content["statusCode"] == 200
    assert init < 30  # with docker's own time, on a machine that does other things
    assert median(took) < 250


# Objects in buckets


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cloud.moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="module")
def s3(aws: str) -> Any:
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=aws, region_name="us-east-1", **keys)
    for name in ("scans", "answers"):
        client.create_bucket(Bucket=name)
    return client


def put(*keys: str) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "scans"}, "object": {"key": key, "size": 1}},
            }
            for key in keys
        ]
    }


def test_images_in_buckets_are_answered_and_the_answers_written(image, picture, aws, s3):
    contents = {"ward 7/a.png": picture, "bad.png": b"broken", "big.png": b"0" * 1_000_001, "out/x.json": b"{}"}
    for key, data in contents.items():
        s3.put_object(Bucket="scans", Key=key, Body=data)
    environment = cloud.aws_environment(aws) | {"DIASCOPE_API_KEY": "secret", "DIASCOPE_MAX_UPLOAD_MB": "1"}
    with sandbox(image, **environment, DIASCOPE_RESULTS="s3://scans/out") as found:
        told = found.reply(put("ward+7/a.png", "bad.png", "big.png", "gone.png", "out/x.json"))["answers"]
        assert [each.get("status") for each in told] == [None, 415, 413, 404, None]
        assert told[0]["model"] == served.NAME
        assert "skipped" in told[4]
        assert found.ask("POST", "/invocations", picture, "image/png")["statusCode"] == 401
        found.api.invoke(put("ward+7/a.png"))
        s3.put_object(Bucket="scans", Key="moved.json", Body=b"{}", Metadata={"diascope": "result"})
        assert "skipped" in found.reply(put("moved.json"))["answers"][0]
    written = [each["Key"] for each in s3.list_objects_v2(Bucket="scans", Prefix="out/scans/")["Contents"]]
    assert written == [f"out/scans/{name}.json" for name in ("bad.png", "big.png", "gone.png", "ward 7/a.png")]
    kept = s3.get_object(Bucket="scans", Key="out/scans/ward 7/a.png.json")
    assert json.loads(kept["Body"].read())["label"] == told[0]["label"]
    assert kept["Metadata"] == {"diascope": "result"}


def test_a_bucket_that_does_not_answer_makes_lambda_try_again(image, aws, s3):
    with sandbox(image, **cloud.aws_environment(aws)) as found:
        said = found.api.invoke(
            {"Records": [{**put("a")["Records"][0], "s3": {"bucket": {"name": "absent"}, "object": {"key": "a"}}}]}
        )
        assert (said.kind, said.content["errorType"]) == ("error", "Unfinished")
        assert said.content["errorMessage"].startswith(
            "1 of 1 objects are unanswered: reading an object failed (NoSuchBucket)"
        )
        assert found.ask("GET", "/ping")["statusCode"] == 200


# What ends it before it has begun


def test_a_wrong_setting_is_told_to_lambda_in_one_sentence(image):
    with sandbox(image, DIASCOPE_RESULTS="answers") as found:
        said = found.api.said.get(timeout=60)
    assert (said.kind, said.error_type) == ("init", "InputError")
    assert (
        said.content["errorMessage"] == "DIASCOPE_RESULTS is 'answers': give a bucket and a prefix, s3://bucket/prefix."
    )


def test_a_changed_model_never_answers(image, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"changed")
    (tmp_path / "model.bin").chmod(0o644)
    with sandbox(image, "--volume", f"{tmp_path / 'model.bin'}:{MODEL}/model.bin:ro") as found:
        said = found.api.said.get(timeout=60)
        status = subprocess.run(["docker", "wait", found.name], capture_output=True, text=True, check=True, timeout=60)
    assert (said.kind, said.error_type) == ("init", "InputError")
    assert f"{MODEL}/model.bin is missing or was changed" in said.content["errorMessage"]
    assert status.stdout.strip() != "0"


def test_the_image_holds_no_more_of_amazon_than_it_needs(image):
    command = (
        "import botocore, pathlib; folder = pathlib.Path(botocore.__file__).parent / 'data';"
        "print(*sorted(path.name for path in folder.iterdir() if path.is_dir()))"
    )
    run = ["docker", "run", "--rm", "--network=none", "--entrypoint", "/app/bin/python", image, "-c", command]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.split() == ["s3"]
    assert docker.megabytes(image) < 600
