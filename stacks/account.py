"""Does AWS let us in, and is there what a stack names?"""

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from diascope import aws
from diascope.errors import InputError, nearest

if TYPE_CHECKING:
    import boto3

SAGEMAKER = "sagemaker.amazonaws.com"


def check_region(region: str) -> None:
    """Raise InputError where AWS has no such region, as far as the installed boto3 knows them."""
    import boto3

    session = boto3.Session(region_name=region)
    known = {each for part in session.get_available_partitions() for each in session.get_available_regions("sts", part)}
    if region not in known:
        raise InputError(
            f"There is no AWS region {region!r}; the nearest is {nearest(region, known)!r} (a region newer than the "
            "installed boto3 needs an upgrade of it)."
        )


def account_of(session: "boto3.Session") -> str:
    """Return the id of the account that the credentials are of; raises InputError where AWS does not take them."""
    with aws.explained("Logging in to AWS"):
        return str(aws.client(session, "sts").get_caller_identity()["Account"])


def check_bucket(session: "boto3.Session", bucket: str, *, endpoint_url: str | None = None) -> None:
    """Raise InputError where the bucket is not there, is in another region or does not take and give objects."""
    client = aws.client(session, "s3", endpoint_url=endpoint_url)
    with aws.explained(f"Opening the bucket {bucket!r}"):
        found = client.head_bucket(Bucket=bucket).get("BucketRegion")
    region = client.meta.region_name
    if found and region != "aws-global" and found != region:
        raise InputError(
            f"The bucket {bucket!r} is in {found}, but the stack is in {region}: name a bucket there, or that region."
        )
    key = "diascope/.writable"
    with aws.explained(f"Writing to the bucket {bucket!r}"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    with aws.explained(f"Deleting from the bucket {bucket!r}"):
        client.delete_object(Bucket=bucket, Key=key)


def check_role(session: "boto3.Session", role: str, account: str) -> None:
    """Raise InputError where a role is not there, is of another account, or SageMaker may not assume it."""
    from botocore.exceptions import ClientError

    if not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/.+", role):
        raise InputError(f"The execution role {role!r} is no ARN: name it as arn:aws:iam::ACCOUNT:role/NAME.")
    owner, name = role.split(":")[4], role.rpartition("/")[2]
    if owner != account:
        raise InputError(f"The role {role} is of account {owner}, but the credentials are of account {account}.")
    try:
        found = aws.client(session, "iam").get_role(RoleName=name)["Role"]
    except ClientError as error:
        if aws.error_code(error) == "NoSuchEntity":
            raise InputError(
                f"There is no role {role}: create it with `terraform apply` in stacks/aws, or name another."
            ) from error
        if aws.error_code(error) in aws.DENIED:
            print(f"Whether the role {role} is there cannot be checked: iam:GetRole is not allowed.", file=sys.stderr)
            return
        with aws.explained(f"Looking up the role {role}"):
            raise
    if SAGEMAKER not in json.dumps(found.get("AssumeRolePolicyDocument", {})):
        raise InputError(f"SageMaker may not assume the role {role}: allow {SAGEMAKER} in its trust policy.")


def check_sagemaker(session: "boto3.Session") -> None:
    """Raise InputError where SageMaker's pipelines cannot be used with these credentials in this region."""
    with aws.explained("Asking SageMaker for its pipelines"):
        aws.client(session, "sagemaker").list_pipelines(MaxResults=1)


def check_repository(session: "boto3.Session", repository: str) -> None:
    """Raise InputError where ECR has no repository of this name: it does not make one when an image is pushed."""
    client = aws.client(session, "ecr")
    try:
        with aws.explained(f"Looking up the ECR repository {repository!r}"):
            client.describe_repositories(repositoryNames=[repository])
    except InputError as error:
        if aws.error_code(error) != "RepositoryNotFoundException":
            raise
        region = client.meta.region_name
        raise InputError(
            f"There is no ECR repository {repository!r} in {region}: create it with `terraform apply` in stacks/aws, "
            f"or `aws ecr create-repository --repository-name {repository} --region {region}`."
        ) from error


def check_codebuild(session: "boto3.Session", project: str) -> None:
    """Raise InputError where CodeBuild has no project of this name."""
    with aws.explained(f"Looking up the CodeBuild project {project!r}"):
        found: dict[str, Any] = aws.client(session, "codebuild").batch_get_projects(names=[project])
    if not found.get("projects"):
        raise InputError(f"There is no CodeBuild project {project!r}: create it, or say image_builder: local.")


def registry_login(session: "boto3.Session") -> tuple[str, str]:
    """Return user and password for the account's ECR registry, good for twelve hours; raises InputError."""
    import base64

    with aws.explained("Logging in to ECR"):
        found = aws.client(session, "ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
    return user, password
