"""How is AWS asked, and what is told of it when it does not do what it is asked?"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diascope.errors import InputError

if TYPE_CHECKING:
    import boto3
    from botocore.exceptions import ClientError

ATTEMPTS = 5  # of a request, with growing pauses
CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with `aws sso login`"
EXPIRED = "the AWS credentials have expired; get new ones, for example with `aws sso login`, and run again"
UNKNOWN = f"AWS does not know these credentials; {CREDENTIALS}"
NO_BUCKET = "there is no such bucket; check its name and the region"
ELSEWHERE = "it is in another region; name that one"
THROTTLED = "AWS goes on answering that it is asked too often; wait a minute and run again"
LIMIT = "the account's limit is reached; ask for more under Service Quotas in the AWS console"
REASONS = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"), EXPIRED),
    **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"), UNKNOWN),
    **dict.fromkeys(("SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"), UNKNOWN),
    "NoSuchBucket": NO_BUCKET,
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed", "301"), ELSEWHERE),
    **dict.fromkeys(("Throttling", "ThrottlingException", "ThrottledException", "SlowDown"), THROTTLED),
    **dict.fromkeys(("TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled"), THROTTLED),
    "PreconditionFailed": "it changed while it was read; run again",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403"}
LIMITED = {"ResourceLimitExceeded", "LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"}


_lent: "list[boto3.Session]" = []


def session(region: str | None = None) -> "boto3.Session":
    """Return a session with the credentials of the usual places (environment, AWS_PROFILE, a role), or what was lent.

    `region` goes before what the environment or the profile says. Raises InputError where AWS_PROFILE names no profile.
    """
    import boto3

    with explained("Opening an AWS session"):
        own = boto3.Session(region_name=region)
        return _lent[-1] if _lent and own.get_credentials() is None else own


def lend(session: "boto3.Session") -> None:
    """Let this process use a session wherever it has no credentials of its own."""
    _lent.append(session)


def client(
    session: "boto3.Session",
    service: str,
    *,
    anonymous: bool = False,
    connections: int = 10,
    endpoint_url: str | None = None,
) -> Any:
    """Return a client that tries again, with pauses, where AWS is slow or throttles.

    With `anonymous` the requests are not signed where there are no credentials, which public buckets take;
    `connections` is how many requests go at once; `endpoint_url` is for what speaks the protocol elsewhere.
    Raises InputError where no region is known.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    with explained(f"Asking AWS for {service}"):
        unsigned = anonymous and session.get_credentials() is None
        config = Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=connections,
            **({"signature_version": UNSIGNED} if unsigned else {}),
        )
        return session.client(service, config=config, endpoint_url=endpoint_url)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Raise InputError where AWS refuses: what was being done (`Creating the endpoint 'x'`), why not, and the remedy.

    The error of botocore is its cause, so that a caller can still tell one from another.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except Boto3Error as error:  # of uploads in parts, around the real one
        raise InputError(f"{doing} failed: {reason(error.__context__ or error)}.") from error
    except (BotoCoreError, ClientError) as error:
        raise InputError(f"{doing} failed: {reason(error)}.") from error


def error_code(error: BaseException | None) -> str:
    """Return AWS's code of an error, or of what led to it, such as `NoSuchBucket`; "" where it has none."""
    from botocore.exceptions import ClientError

    while error is not None and not isinstance(error, ClientError):
        error = error.__cause__ or error.__context__
    return str(error.response.get("Error", {}).get("Code", "")) if error else ""


def reason(error: BaseException) -> str:
    """Return why AWS did not do it and what to do about it, as half a sentence."""
    from botocore import exceptions as known

    if isinstance(error, known.ClientError):
        return _answer(error)
    if isinstance(error, known.ProfileNotFound):
        return f"AWS_PROFILE names no profile ({_line(error)}); choose one of `aws configure list-profiles`"
    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError | known.CredentialRetrievalError):
        return f"there are no AWS credentials ({_line(error)}); {CREDENTIALS}"
    if isinstance(error, known.SSOError | known.TokenRetrievalError):
        return EXPIRED
    if isinstance(error, known.NoRegionError):
        return "no AWS region is named; set AWS_REGION"
    if isinstance(error, known.InvalidRegionError | known.EndpointConnectionError | known.HTTPClientError):
        return f"{_line(error)}; check the region, AWS_ENDPOINT_URL and the network"
    return _line(error)


def _answer(error: "ClientError") -> str:
    said = error.response.get("Error", {})
    code, text = str(said.get("Code", "")), " ".join(str(said.get("Message", "")).split()).rstrip(".")
    if code in REASONS:
        return REASONS[code]
    if code == "404" and error.operation_name == "HeadBucket":
        return NO_BUCKET
    if code in DENIED:
        action = re.search(r"perform: ?([\w:*-]+)", text)
        return (
            f"access is denied to {action[1] if action else error.operation_name}; allow it to the credentials in use, "
            "or use others (AWS_PROFILE)"
        )
    if code in LIMITED:
        return f"{LIMIT} ({text})"
    return f"AWS says {code}: {text}" if text else f"AWS says {code} to {error.operation_name}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
