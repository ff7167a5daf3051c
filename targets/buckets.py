"""Is the bucket there that is to be written to?"""

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from diascope.aws import DENIED, client, error_code, explained
from diascope.errors import InputError

if TYPE_CHECKING:
    from boto3 import Session

log = logging.getLogger(__name__)


def check_bucket(session: "Session", place: str) -> None:
    """Raise InputError where the bucket of `s3://bucket/prefix` is not there, or is elsewhere."""
    bucket = urlsplit(place).netloc
    try:
        with explained(f"Looking for the bucket {bucket!r}"):
            client(session, "s3").head_bucket(Bucket=bucket)
    except InputError as error:
        if error_code(error) not in DENIED:
            raise
        log.info("%s", error)  # whoever deploys need not be allowed what the service is
