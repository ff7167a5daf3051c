"""Is the image where Amazon takes it from?"""

import logging
import re
from typing import TYPE_CHECKING

from diascope.aws import DENIED, client, error_code, explained
from diascope.errors import InputError

if TYPE_CHECKING:
    from boto3 import Session

IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr\.(?P<region>[a-z0-9-]+)\.(amazonaws\.com(\.cn)?|on\.aws)/"
    r"(?P<repository>[^@:]+)(@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))"
)
MISSING = {"ImageNotFoundException", "RepositoryNotFoundException"}

log = logging.getLogger(__name__)


def is_in_ecr(image: str) -> bool:
    """Return whether an image is in Amazon's registry."""
    return IMAGE.fullmatch(image) is not None


def check_image(session: "Session", image: str, taker: str) -> None:
    """Raise InputError where `taker` (such as Lambda) cannot take the image: another registry, region, or no image."""
    found = IMAGE.fullmatch(image)
    if found is None:
        raise InputError(
            f"{taker} takes images from Amazon ECR alone, and {image} is elsewhere: "
            "use a stack whose container registry is an ECR (`make stack-aws`)."
        )
    if found["region"] != session.region_name:
        raise InputError(
            f"{taker} in {session.region_name} cannot take an image from {found['region']} ({image}): "
            "use a registry in the same region."
        )
    identity = {"imageDigest": found["digest"]} if found["digest"] else {"imageTag": found["tag"]}
    try:
        with explained(f"Looking for {image}"):
            client(session, "ecr").describe_images(
                registryId=found["account"], repositoryName=found["repository"], imageIds=[identity]
            )
    except InputError as error:
        if error_code(error) in MISSING:
            raise InputError(f"{image} is not in the registry: it was not pushed, or removed; deploy anew.") from error
        if error_code(error) not in DENIED:
            raise
        log.info("%s", error)  # the deployment will tell whether it is there
