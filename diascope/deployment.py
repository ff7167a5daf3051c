"""What is packaged, and what came of it, for people and for programs?"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diascope.parity import Parity
from diascope.promotion import Decision
from diascope.schema import Frozen
from diascope.statement import Statement

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SERVED = ("model.xml", "model.bin", "metadata.json")  # of a classifier; the rest is for further training
EQUAL = 1e-9  # differences of probabilities below it are not worth a figure
STORED_AS = "diascope"  # in BentoML's model store, where the service looks for it


class Release(Frozen):
    """The version of a model that is packaged."""

    name: str
    version: int
    created: str
    stage: str
    decision: Decision | None  # by which it came into production
    statement: Statement = Statement()

    @property
    def service(self) -> str:
        """Name of the service at whatever target."""
        return plain_name(self.name)

    @property
    def tag(self) -> str:
        """Name and version of the bento and the image, as both BentoML and Docker take them."""
        return f"{self.service}:{self.version}"

    @property
    def stored_as(self) -> str:
        """Name and version in BentoML's model store."""
        return f"{STORED_AS}:{self.service}-{self.version}"


def plain_name(model: str) -> str:
    """A model's name as both BentoML and Docker take it."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", model.lower())
    return re.sub(r"[._-]{2,}", "-", plain).strip("._-") or STORED_AS


class Bento(Frozen):
    """A bento in BentoML's store."""

    tag: str
    model: str  # tag in the model store
    megabytes: float  # with the model
    digest: str  # SHA-256 over every file but for times: equal contents, equal digest


class Image(Frozen):
    """A container image in the engine's store."""

    tag: str
    megabytes: float


class Smoke(Frozen):
    """What the container did when it was tried."""

    parity: Parity
    ready_seconds: float  # from `docker run` to the first 200 of /readyz
    milliseconds: float  # median of a request, one after the other


class Pushed(Frozen):
    """An image in a registry."""

    uri: str
    digest: str


class Served(Frozen):
    """What serves at a target, and how near its answers came to what was measured."""

    target: str
    service: str
    version: int
    url: str  # empty: nothing serves yet, and `resources` says what was made
    resources: dict[str, str]
    previous: int | None  # the version that served before
    parity: Parity | None  # None where no image was asked


@dataclass(frozen=True)
class Deployment:
    """A finished deployment, read back from its artifacts."""

    run_name: str
    status: str
    stack: str
    release: Release
    parity: Parity
    bento: Bento
    image: Image | None
    smoke: Smoke | None
    pushed: Pushed | None
    served: Served | None
    seconds: float
    step_seconds: dict[str, float] = field(default_factory=dict)


def as_json(deployment: Deployment) -> dict[str, Any]:
    """The deployment as one JSON object; null where there is no container, or no target."""
    release, bento, image, smoke = deployment.release, deployment.bento, deployment.image, deployment.smoke
    return {
        "pipeline": "deployment",
        "run_name": deployment.run_name,
        "status": deployment.status,
        "stack": deployment.stack,
        "model": {"name": release.name, "version": str(release.version), "stage": release.stage},
        "bento": bento.tag,
        "bento_mb": bento.megabytes,
        "bento_digest": bento.digest,
        "image": image.tag if image else None,
        "image_mb": image.megabytes if image else None,
        "ready_seconds": smoke.ready_seconds if smoke else None,
        "pushed": deployment.pushed.uri if deployment.pushed else None,
        "deployed": deployment.served.model_dump() if deployment.served else None,
        "parity": deployment.parity.model_dump(),
        "smoke": {**smoke.parity.model_dump(), "milliseconds": smoke.milliseconds} if smoke else None,
        "seconds": {"total": deployment.seconds, "steps": deployment.step_seconds},
    }


def print_table(deployment: Deployment, console: "Console") -> None:
    """The deployment as a table, and what to do next."""
    console.print(_table(deployment))
    console.print(_next(deployment), highlight=False, markup=False, soft_wrap=True)


def _next(deployment: Deployment) -> str:
    served = deployment.served
    if served and served.url:
        return f"\nLook at         {served.url}, the model card at /card"
    if served:  # nobody runs it yet
        return f"\nGo on with      {served.resources['next']}"
    commands = f"\nServe it        bentoml serve {deployment.bento.tag}"
    if deployment.image:
        commands += f"\nIn a container  {docker_command(deployment.image.tag)}"
    return commands + "\nThen look at    http://127.0.0.1:3000, the model card at /card"


def print_rows(told: Mapping[str, object], console: "Console") -> None:
    """What is told by name, as a table; what is not known is left out."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in told.items():
        if value is not None:
            table.add_row("URL" if name == "url" else name.capitalize(), str(value))
    console.print(table)


def print_removed(told: Mapping[str, Any], console: "Console") -> None:
    """What was removed from a target, a line each."""
    removed = told["removed"] or [f"nothing: {told['target']} has no such service"]
    for each in removed:
        console.print(f"Removed {each}", highlight=False, markup=False, soft_wrap=True)


def docker_command(image: str) -> str:
    """The command that starts the container, as narrowly as it was tried."""
    on_host = os.environ.get("DIASCOPE_DOCKER_NETWORK", "").strip() == "host"
    reached = "--network=host" if on_host else "-p 127.0.0.1:3000:3000"
    return f"docker run --rm --read-only --cap-drop=ALL {reached} {image}"


def _table(deployment: Deployment) -> "Table":
    from rich.table import Table

    release, image, smoke = deployment.release, deployment.image, deployment.smoke
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("Model", f"{release.name} version {release.version}, {release.stage}")
    table.add_row("Parity", _same(deployment.parity))
    table.add_row("Bento", f"{deployment.bento.tag} ({deployment.bento.megabytes:.1f} MB)")
    if image:
        table.add_row("Image", f"{image.tag} ({image.megabytes:.0f} MB)")
    if smoke:
        ready = f"ready after {smoke.ready_seconds:.1f} s, {smoke.milliseconds:.1f} ms per request"
        table.add_row("Container", f"{_same(smoke.parity)}; {ready}")
    if deployment.pushed:
        table.add_row("Pushed", f"{deployment.pushed.uri} ({deployment.pushed.digest.rpartition('@')[2]})")
    if served := deployment.served:
        where = (
            f"{served.target}: {served.url or 'not yet, for no cluster is configured here; the manifests are written'}"
        )
        before = f", in place of version {served.previous}" if served.previous not in (None, served.version) else ""
        table.add_row("Serves", f"{where}{before}{f'; {_same(served.parity)}' if served.parity else ''}")
    table.add_row("Run", f"{deployment.run_name} ({deployment.status}) on stack {deployment.stack}")
    table.add_row("", f"{deployment.seconds:.1f} s", style="dim")
    return table


def _same(parity: Parity) -> str:
    n = f"{parity.n} test images" if parity.n != 1 else "1 test image"
    if parity.largest_difference < EQUAL:
        return f"{n} answered exactly as in the evaluation"
    return f"{n} answered as in the evaluation (probabilities within {parity.largest_difference:.1g})"
