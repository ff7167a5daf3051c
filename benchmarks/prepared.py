"""What is served, and what is it asked? One network in every contestant's form, and the requests."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks import child, payloads
from diascope.classifier import Classifier
from diascope.deployment import Release

RELEASE = Release(
    name="diascope-benchmark", version=1, created="2026-01-01T00:00:00+00:00", stage="benchmark", decision=None
)


@dataclass(frozen=True)
class Prepared:
    """One network in every contestant's form, and the requests that are sent."""

    root: Path

    @classmethod
    def make(cls, root: Path, files: list[Path], *, backbone: str, alpha: float | None, size: int) -> "Prepared":
        """Write the network and a request for each file."""
        child.run("network", root=str(root), backbone=backbone, alpha=alpha, size=size)
        made = cls(root)
        payloads.multipart(files, root / "multipart")
        payloads.multipart(files, root / "explain", "/explain")
        payloads.tensors(files, Classifier.load(made.classifier), root / "tensors")
        made.images.mkdir()
        for number, path in enumerate(files):
            (made.images / f"{number:03}{path.suffix}").symlink_to(path.resolve())
        return made

    @property
    def classifier(self) -> Path:
        """The classifier's folder."""
        return self.root / "classifier"

    @property
    def store(self) -> Path:
        """BentoML's folder with the classifier in it."""
        return self.root / "bentoml"

    @property
    def images(self) -> Path:
        """The images that the requests hold."""
        return self.root / "images"

    @property
    def log(self) -> Path:
        """Where a server's output goes."""
        return self.root / "server.log"

    def requests(self, contestant: str) -> Path:
        """The requests in the form that a contestant takes."""
        return self.root / {"mlflow": "tensors", "explain": "explain"}.get(contestant, "multipart")
