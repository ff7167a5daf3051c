"""Under which address is a function called, and by whom?"""

from typing import Any

from diascope.aws import error_code, explained
from diascope.errors import InputError
from targets.lambda_request import LIVE

ABSENT = "ResourceNotFoundException"
# Since October 2025 a public URL needs both.
PUBLIC: dict[str, dict[str, Any]] = {
    "diascope-url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    "diascope-invoke": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}


class FunctionUrl:
    """The URL of a function's alias `live`."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._live = {"FunctionName": function, "Qualifier": LIVE}
        self._doing = f"Giving the function {function!r} its URL"

    def look(self) -> dict[str, Any] | None:
        """Return the URL and who may call it, if there is one."""
        try:
            with explained(self._doing):
                return dict(self._client.get_function_url_config(**self._live))
        except InputError as error:
            if error_code(error) == ABSENT:
                return None
            raise

    def set(self, auth: str) -> str:
        """Let there be one that is called as `auth` (AWS_IAM or NONE) says; return it without a slash at its end."""
        found = self.look()
        if auth != "NONE":
            self._revoke()  # first, so that it is never open for longer than it may be
        with explained(self._doing):
            if found is None:
                found = self._client.create_function_url_config(**self._live, AuthType=auth)
            elif found["AuthType"] != auth:
                found = self._client.update_function_url_config(**self._live, AuthType=auth)
        if auth == "NONE":
            self._allow()
        return str(found["FunctionUrl"]).rstrip("/")

    def _allow(self) -> None:
        for statement, what in PUBLIC.items():
            try:
                with explained(self._doing):
                    self._client.add_permission(**self._live, StatementId=statement, Principal="*", **what)
            except InputError as error:
                if error_code(error) != "ResourceConflictException":  # it is there already
                    raise

    def _revoke(self) -> None:
        for statement in PUBLIC:
            try:
                with explained(self._doing):
                    self._client.remove_permission(**self._live, StatementId=statement)
            except InputError as error:
                if error_code(error) != ABSENT:
                    raise
