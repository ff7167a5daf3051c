"""As which role does a service run, and may it?"""

from typing import TYPE_CHECKING, Any

from diascope.aws import client, error_code, explained
from diascope.errors import InputError

if TYPE_CHECKING:
    from boto3 import Session


def role_arn(session: "Session", given: str, principal: str) -> str:
    """Return the ARN of a role, given by name or ARN, that a service of Amazon's (`lambda.amazonaws.com`) may take on.

    Raises InputError: there is no such role, or it does not trust that service.
    """
    name = given.rpartition("/")[2]
    try:
        with explained(f"Looking at the role {name!r}"):
            role = client(session, "iam").get_role(RoleName=name)["Role"]
    except InputError as error:
        if error_code(error) != "NoSuchEntity":
            raise
        raise InputError(
            f"There is no role {name!r} in this account: make it with Terraform (stacks/aws), or name another one."
        ) from error
    if given.startswith("arn:") and role["Arn"] != given:
        raise InputError(f"The role {given} is not in this account, whose role {name!r} is {role['Arn']}.")
    if not _trusts(role.get("AssumeRolePolicyDocument"), principal):
        raise InputError(
            f"The role {name!r} does not trust {principal}: allow it sts:AssumeRole in the role's trust policy."
        )
    return str(role["Arn"])


def _trusts(policy: Any, principal: str) -> bool:
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    for statement in [statements] if isinstance(statements, dict) else statements:
        named = statement.get("Principal", {})
        services = named.get("Service", []) if isinstance(named, dict) else [principal] if named == "*" else []
        trusted = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and (principal in trusted or "*" in trusted):
            return True
    return False
