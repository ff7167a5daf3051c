"""A connector's credentials last as long as the work does."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3

from stacks import session


def given(key: str, expires: datetime | None) -> tuple[boto3.Session, datetime | None]:
    made = boto3.Session(
        aws_access_key_id=key, aws_secret_access_key="s", aws_session_token="t", region_name="eu-central-1"
    )
    return made, expires


def test_credentials_that_expire_are_fetched_anew(monkeypatch):
    now = datetime.now(UTC)
    answers = [
        given("first", now + timedelta(minutes=1)),
        given("second", (now + timedelta(hours=1)).replace(tzinfo=None)),
    ]
    monkeypatch.setattr(session, "_connect", lambda _: answers.pop(0))

    found = session.connector_session(uuid4())

    assert found.region_name == "eu-central-1"
    assert found.client("sts")._request_signer._credentials.get_frozen_credentials().access_key == "second"
    assert not answers


def test_lasting_credentials_are_fetched_once(monkeypatch):
    answers = [given("only", None)]
    monkeypatch.setattr(session, "_connect", lambda _: answers.pop(0))

    found = session.connector_session(uuid4())

    assert found.get_credentials().get_frozen_credentials().access_key == "only"
