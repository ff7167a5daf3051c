"""What does AWS Lambda call? Importing this loads the model, which Lambda does once, before the first event."""

import os
from functools import cached_property
from typing import Any

from serving.in_process import InProcess, packaged_application
from serving.lambda_http import BadEvent, asked, refused, reply
from serving.lambda_s3 import Objects, is_notification, results_place, s3_client
from serving.settings import Settings


class Sandbox:
    """The service and whatever an event needs, once for all events of a sandbox."""

    def __init__(self) -> None:
        self._results = results_place(os.environ)
        self._service = InProcess(packaged_application())

    @cached_property
    def _objects(self) -> Objects:
        settings = Settings.read()
        headers = {"x-api-key": settings.api_key} if settings.api_key else {}
        return Objects(self._service.ask, s3_client(), settings.max_upload, headers, self._results)

    def handle(self, event: Any, _: object) -> dict[str, Any]:
        """Answer an event of API Gateway, of a function URL or of S3; any other one gets 400."""
        if is_notification(event):
            return self._objects.answer(event)
        try:
            request = asked(event)
        except BadEvent as error:
            return refused(str(error))
        return reply(self._service.ask(request))


handle = Sandbox().handle
