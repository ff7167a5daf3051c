"""How are images answered that were put into a bucket?"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diascope.errors import InputError
from serving.in_process import Answered, Asked

RESULTS = "DIASCOPE_RESULTS"
MARK = "diascope"  # in the metadata of each result
GONE = {"NoSuchKey", "NoSuchVersion", "404"}

log = logging.getLogger("bentoml.diascope")


class Unfinished(RuntimeError):
    """Objects that might be answered later: Lambda tries the event again, and keeps it in the end if told where."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Bucket(_Part):
    name: str = Field(min_length=1)


class _Object(_Part):
    key: str = Field(min_length=1)
    versionId: str | None = None


class _Place(_Part):
    bucket: _Bucket
    object: _Object


class _Record(_Part):
    eventName: str
    s3: _Place


@dataclass(frozen=True)
class Place:
    """One object, or the part of a bucket below a prefix."""

    bucket: str
    key: str
    version: str | None = None

    def holds(self, other: "Place") -> bool:
        """Return whether another object is below this prefix."""
        return other.bucket == self.bucket and other.key.startswith(f"{self.key}/")


def results_place(environment: Mapping[str, str]) -> Place | None:
    """Return where answers are written, if anywhere; raises InputError."""
    text = environment.get(RESULTS, "").strip()
    parts = urlsplit(text)
    prefix = parts.path.strip("/")
    if text and not (parts.scheme == "s3" and parts.netloc and prefix):
        # Without a prefix all of the bucket would be results, and nothing in it would be answered.
        raise InputError(f"{RESULTS} is {text!r}: give a bucket and a prefix, s3://bucket/prefix.")
    return Place(parts.netloc, prefix) if text else None


def is_notification(event: Any) -> bool:
    """Return whether S3 sent this event, be it the test that it sends when it is set up."""
    if not isinstance(event, dict):
        return False
    records = event.get("Records")
    if isinstance(records, list) and records:
        return all(isinstance(record, dict) and record.get("eventSource") == "aws:s3" for record in records)
    return event.get("Service") == "Amazon S3" and event.get("Event") == "s3:TestEvent"


@dataclass(frozen=True)
class Objects:
    """The service for objects of buckets."""

    ask: Callable[[Asked], Answered]
    client: Any  # S3
    limit: int  # bytes of one object
    headers: Mapping[str, str]
    results: Place | None

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an answer for each record; what is wrong with an object is said in its place.

        Raises
        ------
        Unfinished: some could not be fetched, answered or stored, which is not the objects' fault. All were tried.
        """
        answers: list[dict[str, Any]] = []
        failures: list[str] = []
        for record in event.get("Records", []):
            try:
                answers.append(self._answer(record))
            except Unfinished as error:
                failures.append(str(error))
        if failures:
            raise Unfinished(f"{len(failures)} of {len(event['Records'])} objects are unanswered: {failures[0]}")
        return {"answers": answers}

    def _answer(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            parsed = _Record.model_validate(record)
        except ValidationError as error:
            wrong = ".".join(str(part) for part in error.errors()[0]["loc"])
            return {"error": f"The record's {wrong} cannot be used.", "status": 400}
        found = parsed.s3
        place = Place(found.bucket.name, unquote_plus(found.object.key), found.object.versionId)
        named = {"bucket": place.bucket, "key": place.key}
        if not parsed.eventName.startswith("ObjectCreated"):
            return {**named, "skipped": f"{parsed.eventName[:80]} brings no image."}
        if self.results and self.results.holds(place):
            return {**named, "skipped": "It is below the place that results are written to."}
        answer = self._classified(place)
        if "skipped" not in answer and self.results:
            answer["result"] = self._store(place, {**named, **answer}, self.results)
        return {**named, **answer}

    def _classified(self, place: Place) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self.client.get_object(Bucket=place.bucket, Key=place.key, **_version(place))
            if MARK in found["Metadata"]:
                return {"skipped": "It is a result."}
            if found["ContentLength"] > self.limit:
                found["Body"].close()
                return {"error": f"The object is larger than {self.limit / 1e6:g} MB.", "status": 413}
            body = found["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return {"error": "The object is gone.", "status": 404}
            raise Unfinished(_why("reading", error)) from error
        except (BotoCoreError, OSError) as error:
            raise Unfinished(_why("reading", error)) from error
        return self._asked(body)

    def _asked(self, body: bytes) -> dict[str, Any]:
        headers = {**self.headers, "content-type": "application/octet-stream"}
        answered = self.ask(Asked("POST", "/invocations", headers=headers, body=body))
        content: dict[str, Any] = json.loads(answered.body)
        if answered.status >= 500:
            raise Unfinished(str(content["error"]))
        return content if answered.status == 200 else {**content, "status": answered.status}

    def _store(self, place: Place, answer: dict[str, Any], results: Place) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        key = f"{results.key}/{place.bucket}/{place.key}.json"
        content = {"Body": json.dumps(answer).encode(), "ContentType": "application/json", "Metadata": {MARK: "result"}}
        try:
            self.client.put_object(Bucket=results.bucket, Key=key, **content)
        except (BotoCoreError, ClientError) as error:
            raise Unfinished(_why("writing", error)) from error
        return f"s3://{results.bucket}/{key}"


def s3_client() -> Any:
    """Return a client for S3, with the function's own credentials; botocore is imported here, at the first event."""
    from botocore.config import Config
    from botocore.session import get_session

    retries = {"mode": "standard", "total_max_attempts": 4}
    return get_session().create_client("s3", config=Config(connect_timeout=5, read_timeout=30, retries=retries))


def _version(place: Place) -> dict[str, str]:
    return {"VersionId": place.version} if place.version else {}


def _why(doing: str, error: Exception) -> str:
    """Keys stay out of it: they may name a patient, and this goes to the log."""
    from botocore.exceptions import ClientError

    said = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    return f"{doing} an object failed ({said})."
