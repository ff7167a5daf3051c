"""The HTTP service around a classifier: `bentoml serve` in this folder starts it."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import bentoml
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from diascope.engine import Elastic, cpu_count
from diascope.explanation import CAUTION
from serving import described
from serving.access import check_key
from serving.capacity import Capacity
from serving.counts import Counts
from serving.forms import Form, Part
from serving.hosting import Hosted, before_stopping, in_one_sentence
from serving.memory import return_large_blocks, room
from serving.packaged import Packaged, Stored
from serving.pages import FILES, pages
from serving.predictor import Predictor, since
from serving.records import Recorder
from serving.refusals import Refusal
from serving.routes import Route, undescribed
from serving.settings import Settings
from serving.specification import specification
from serving.uploads import Uploads

MODEL = Stored(os.environ.get("DIASCOPE_MODEL", "diascope:latest"))
with in_one_sentence():
    SETTINGS = Settings.read()

log = logging.getLogger("bentoml.diascope")
app = FastAPI(title="Diascope", docs_url=None, redoc_url=None, openapi_url=None)
app.router.route_class = Route


@bentoml.service(
    name="diascope", workers=SETTINGS.workers, logging={"access": {"enabled": False}}, service_class=Hosted
)
@bentoml.asgi_app(app, path="/")
class Diascope:
    """One classifier behind HTTP; its methods are the routes."""

    model = MODEL  # BentoML packs what a service has as attributes

    def __init__(self) -> None:
        packaged = Packaged(Path(self.model.path))
        classifier, name = packaged.classifier, packaged.name
        cores = max(1, cpu_count() // SETTINGS.workers)
        engine = Elastic(classifier.root / "model.xml", precision=classifier.info.precision, cores=cores)
        counts = Counts(classifier.info.class_names, name.name, name.version)
        self.recorder = Recorder(SETTINGS.monitoring, name.name, name.version)
        return_large_blocks()
        memory = room(SETTINGS.workers)
        self.uploads = Uploads(SETTINGS.max_upload, most=memory.uploads)
        self.capacity = Capacity(cores, max(1, SETTINGS.capacity // SETTINGS.workers))
        pixels = int(min(SETTINGS.max_pixels, memory.pixels))
        self.predictor = Predictor(classifier, engine, self.capacity, pixels, counts, self.recorder)
        before_stopping(self.uploads.hurry)
        self.named = name.model_dump()
        self.pages = pages(packaged)
        self.specification = specification(app, name.version)
        log.info("Serving %s version %s.", name.name, name.version)

    @app.post("/predict", **described.PREDICT)
    async def predict(self, request: Request) -> Response:
        start = self.admit(request)
        async with self.uploads.of(request) as body:
            image = Form(request.headers.get("content-type", ""), body).file("image")
            return await self.answered(image, start, request)

    @app.post("/predict_batch", **described.PREDICT_BATCH)
    async def predict_batch(self, request: Request) -> Response:
        start = self.admit(request)
        async with self.uploads.of(request) as body:
            files = Form(request.headers.get("content-type", ""), body, SETTINGS.max_files).files("images")
            with self.capacity:
                answers = await self.capacity.each(self.predictor.answer_or_problem, files, request)
        return as_json({"answers": answers, "model": self.named, "milliseconds": since(start)})

    @app.post("/explain", **described.EXPLAIN)
    async def explain(self, request: Request) -> Response:
        self.admit(request)
        async with self.uploads.of(request) as body:
            form, query = Form(request.headers.get("content-type", ""), body), request.query_params
            class_name = form.text("class_name") or query.get("class_name")
            drawing = form.text("part") or query.get("part", "overlay")
            with self.capacity:
                work = self.predictor.explain
                drawn = await self.capacity.run(work, form.file("image"), class_name, drawing, request=request)
        return Response(drawn, headers={"X-Caution": CAUTION}, media_type="image/png")

    @app.post("/invocations", **described.INVOCATIONS)
    async def invocations(self, request: Request) -> Response:
        start = self.admit(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in described.RAW_TYPES:
            raise Refusal(415, "type", f"Send an image with its Content-Type, one of {', '.join(described.RAW_TYPES)}.")
        async with self.uploads.of(request) as body:
            return await self.answered(Part("", "image", body), start, request)

    @app.get("/ping", **described.PING)
    async def ping(self, request: Request) -> Response:
        return Response()

    @app.get("/docs.json", include_in_schema=False)
    async def description(self, request: Request) -> Response:
        return Response(self.specification, media_type="application/json")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon(self, request: Request) -> Response:
        return Response(status_code=204)  # browsers ask for one on every page

    @app.get("/model", **described.MODEL)
    @app.get("/card", **described.CARD)
    @undescribed(app, FILES)
    async def page(self, request: Request) -> Response:
        found = self.pages.get(request.scope["path"])
        if found is None:
            raise Refusal(404, "address", "This model came without that page.")
        return found.response(request)

    def admit(self, request: Request) -> float:
        """Refuse a prediction at once where it would be refused later; return when it began."""
        check_key(request, SETTINGS.api_key)
        self.capacity.check()
        return time.perf_counter()

    async def answered(self, image: Part, start: float, request: Request) -> Response:
        """Return the answer to one image."""
        with self.capacity:
            answer = await self.capacity.run(self.predictor.answer, image, request=request)
        return as_json({**answer, "model": self.named, "milliseconds": since(start)})

    @bentoml.on_shutdown
    def finish(self) -> None:
        """Write what has not been recorded yet."""
        self.recorder.close()

    @bentoml.on_deployment
    def check() -> None:
        """Refuse to start, before there are any workers, with a model that cannot be served."""
        with in_one_sentence():
            Packaged(Path(MODEL.resolve().path)).verify()


def as_json(content: dict[str, Any]) -> Response:
    """Return a JSON answer."""
    return Response(json.dumps(content, separators=(",", ":")), media_type="application/json")
