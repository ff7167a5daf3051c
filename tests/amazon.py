"""AWS in this process, as moto has it: it remembers what it is asked, fails where told, and learns what moto lacks."""

import io
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.loaders import create_loader
from botocore.response import StreamingBody
from moto import mock_aws

ACCOUNT, REGION = "123456789012", "eu-central-1"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
REPOSITORY = "diascope"
ROLE = "diascope-service"
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 7023,
        "digest": "sha256:" + "a" * 64,
    },
    "layers": [],
}

LOADER = create_loader()
Answer = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Amazon:
    """What was asked, and what shall happen."""

    session: boto3.Session
    own: boto3.Session  # for what is there before; it is not remembered
    images: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    _faults: dict[str, deque[tuple[int, str, str, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(deque))

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every call of an operation, in order."""
        return [given for name, given in self.asked if name == operation]

    def names(self) -> list[str]:
        """The operations in order, those that only look left out."""
        looking = ("Describe", "List", "Get")
        return [name for name, _ in self.asked if not name.startswith(looking)]

    def fail(self, operation: str, code: str, message: str, *, times: int = 1, status: int = 400, **more: Any) -> None:
        """Let the next calls of an operation fail."""
        self._faults[operation].extend([(status, code, message, more)] * times)

    def remember(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.asked.append((model.name, dict(params)))

    def take(self, operation: str) -> dict[str, Any]:
        """The next fault of an operation, as botocore would have it."""
        status, code, message, more = self._faults[operation].popleft()
        return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}

    def intervene(self, model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        if self._faults[model.name]:
            error = self.take(model.name)
            return AWSResponse("", error["ResponseMetadata"]["HTTPStatusCode"], {}, None), error
        if model.name in self.answers:
            parsed = self.answers[model.name](self.calls(model.name)[-1])
            return None if parsed is None else (AWSResponse("", 200, {}, None), {"ResponseMetadata": {}, **parsed})
        return None

    def image(self, tag: str = "1") -> str:
        """Put an image into ECR and return its reference by digest."""
        manifest = json.dumps(MANIFEST | {"layers": [{"size": 1, "digest": "sha256:" + tag.zfill(64)}]})
        if tag not in self.images:
            put = self.own.client("ecr").put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageTag=tag)
            self.images[tag] = f"{REGISTRY}/{REPOSITORY}@{put['image']['imageId']['imageDigest']}"
        return self.images[tag]

    def role(self, name: str, *services: str) -> str:
        """Make a role that services may take on, and return its ARN."""
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}],
        }
        made = self.own.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        return str(made["Role"]["Arn"])


def _session() -> boto3.Session:
    """A session that reads the descriptions of Amazon's services once for all tests, which is most of its work."""
    inner = botocore.session.get_session()
    inner.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=inner, region_name=REGION)


def streamed(content: Any) -> StreamingBody:
    """A body as boto3 gives it."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return StreamingBody(io.BytesIO(data), len(data))


@contextmanager
def amazon() -> Iterator[Amazon]:
    """An account with a repository and the service's role."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        session = _session()
        made = Amazon(session, _session())
        made.own.client("ecr").create_repository(repositoryName=REPOSITORY)
        made.role(ROLE, "sagemaker.amazonaws.com", "lambda.amazonaws.com")
        session.events.register("provide-client-params.*.*", made.remember)
        session.events.register_first("before-call.*.*", made.intervene)
        yield made
