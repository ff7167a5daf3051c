"""What is said where AWS refuses, as its servers say it on the wire."""

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import boto3
import pytest
from botocore import exceptions

from diascope import aws
from diascope.errors import InputError

XML = "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"
DENIED = "User: arn:aws:iam::1:user/me is not authorized to perform: sts:GetCallerIdentity because no policy allows it"


class Refusing(BaseHTTPRequestHandler):
    """Answers every request of STS with one error."""

    code: ClassVar[str] = ""
    text: ClassVar[str] = ""
    asked: ClassVar[int] = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        body = XML.format(code=self.code, text=self.text).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no region, nothing of the user's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(aws, "_lent", [])
    monkeypatch.setattr(aws, "ATTEMPTS", 2)


@pytest.fixture
def somebody(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def refusing(somebody: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Refusing]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    Refusing.asked = 0
    yield Refusing
    server.shutdown()
    server.server_close()


def ask() -> None:
    with aws.explained("Logging in to AWS"):
        aws.client(aws.session(), "sts").get_caller_identity()


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        ("ExpiredToken", "The security token included in the request is expired", "the AWS credentials have expired;"),
        (
            "InvalidClientTokenId",
            "The security token is invalid",
            "AWS does not know these credentials; set AWS_PROFILE",
        ),
        ("SignatureDoesNotMatch", "The signature does not match", "AWS does not know these credentials"),
        ("AccessDenied", DENIED, "access is denied to sts:GetCallerIdentity; allow it"),
        ("AccessDenied", "", "access is denied to GetCallerIdentity; allow it"),
        ("LimitExceeded", "100 of 100 in use.", r"the account's limit is reached; .* \(100 of 100 in use\)"),
        ("ValidationError", "x is\n wrong.", "AWS says ValidationError: x is wrong"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_remedy(
    refusing: type[Refusing], code: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusing, "code", code)
    monkeypatch.setattr(refusing, "text", text)
    with pytest.raises(InputError, match=rf"^Logging in to AWS failed: {said}") as raised:
        ask()
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    assert not str(raised.value).endswith("..")
    assert aws.error_code(raised.value) == code
    assert refusing.asked == 1


def test_throttling_is_tried_again_before_it_is_told(refusing: type[Refusing], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusing, "code", "ThrottlingException")
    monkeypatch.setattr(refusing, "text", "Rate exceeded")
    with pytest.raises(InputError, match="asked too often; wait a minute and run again"):
        ask()
    assert refusing.asked == aws.ATTEMPTS == 2


def test_missing_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(InputError, match=r"there are no AWS credentials .*; set AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
        ask()


def test_no_region() -> None:
    with pytest.raises(InputError, match="no AWS region is named; set AWS_REGION"):
        aws.client(boto3.Session(), "sagemaker")


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "hospital")
    with pytest.raises(InputError, match=r"AWS_PROFILE names no profile .*hospital"):
        aws.session()


def test_a_region_or_endpoint_that_cannot_be_reached(somebody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"Could not connect .*127\.0\.0\.1:9.*; check the region, AWS_ENDPOINT_URL"):
        ask()


def test_a_login_of_the_browser_that_has_expired() -> None:
    for error in (exceptions.UnauthorizedSSOTokenError(), exceptions.SSOTokenLoadError(error_msg="x")):
        assert aws.reason(error) == aws.EXPIRED


def test_no_bucket_is_told_from_a_head_request_without_a_body() -> None:
    error = exceptions.ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadBucket")
    assert aws.reason(error) == aws.NO_BUCKET
    other = exceptions.ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
    assert aws.reason(other) == "AWS says 404: Not Found"


def test_an_upload_in_parts_hides_nothing(somebody: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match=r"^Uploading failed: Could not connect"), aws.explained("Uploading"):
        aws.client(aws.session(), "s3").upload_file(str(tmp_path / "file"), "bucket", "key")


def test_what_is_no_error_of_aws_passes() -> None:
    with pytest.raises(ZeroDivisionError), aws.explained("Counting"):
        _ = 1 / 0


def test_a_lent_session_is_used_where_there_are_no_credentials_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = boto3.Session(aws_access_key_id="lent", aws_secret_access_key="x", region_name="eu-west-1")
    aws.lend(lent)
    assert aws.session() is lent
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    found = aws.session().get_credentials()
    assert found is not None
    assert found.access_key == "own"


def test_public_buckets_are_read_without_credentials() -> None:
    session = boto3.Session(region_name="eu-central-1")
    from botocore import UNSIGNED

    assert aws.client(session, "s3", anonymous=True).meta.config.signature_version is UNSIGNED
    assert aws.client(session, "s3").meta.config.signature_version is not UNSIGNED
