"""What is in production, and how does a model get there? (ZenML model stages and MLflow aliases)"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diascope.classifier import Classifier
from diascope.dataset import Dataset
from diascope.errors import InputError
from diascope.evaluation import EvaluationRecord, probability_columns
from diascope.images import INGESTED
from diascope.promotion import Champion, Decision
from diascope.statement import Statement

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from zenml.metadata.metadata_types import MetadataType
    from zenml.models import ModelVersionResponse

ALIAS = "champion"
BEFORE = "production_before"  # key of a version's metadata: the versions whose place it took, the last at the end
LINKED = ("dataset", "classifier", "evaluation")  # artifacts that travel with a model version


@dataclass(frozen=True)
class Comparison:
    """Both models on the challenger's test images that the champion was not trained on."""

    champion: Champion
    labels: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Production:
    """The version that is in production."""

    version: "ModelVersionResponse"

    @classmethod
    def find(cls, model: str) -> "Production | None":
        """Return what is in production under this name, if anything."""
        from zenml.client import Client
        from zenml.enums import ModelStages

        try:
            return cls(Client().get_model_version(model, ModelStages.PRODUCTION))
        except KeyError:
            return None

    def holds(self, classifier: Classifier) -> bool:
        """Return whether this version is that very classifier."""
        return self.version.run_metadata.get("classifier") == content(classifier)

    def champion(self) -> Champion:
        """Return the version by name alone, for a gate that needs no comparison."""
        return Champion(version=str(self.version.number))

    def face(self, classifier: Classifier, dataset: Dataset, evaluation: EvaluationRecord) -> Comparison:
        """Let the version in production answer the same test images.

        Left out are images, and where known patients, that it was trained on. Stored answers are taken where there
        are any; for images that it has not seen yet it is run.
        """
        number = str(self.version.number)
        champion: Classifier = self._artifact("classifier")
        if champion.info.class_names != evaluation.evaluation.class_names:
            known = ", ".join(champion.info.class_names)
            return Comparison(Champion(version=number, why_not=f"it knows other classes ({known})"))
        own: Dataset = self._artifact("dataset")
        test = evaluation.predictions()
        test = test[test["split"] == "test"]
        fair = test[~_trained_on(test, own, dataset)]
        stored: EvaluationRecord = self._artifact("evaluation")
        probabilities = _answers(champion, stored, fair, dataset)
        outdated = champion.info.familiarity is None and classifier.info.familiarity is not None
        return Comparison(
            champion=Champion(number, probabilities, n_excluded=len(test) - len(fair), outdated=outdated),
            labels=fair["label"].to_numpy(),
            probabilities=probability_columns(fair),
            groups=fair["group"].to_numpy() if dataset.info.grouping == "patient" else None,
        )

    def _artifact(self, name: str) -> Any:
        found = self.version.get_artifact(name)
        if found is None:
            raise RuntimeError(f"version {self.version.number} of {self.version.model.name} has no artifact {name!r}")
        return found.load()


def content(classifier: Classifier) -> str:
    """Return what makes a classifier the same one: its network's hashes."""
    files = classifier.info.files
    return f"{files['model.xml']}-{files['model.bin']}"


def register(
    model: str, classifier: Classifier, tracked_model: str, decision: Decision, statement: Statement
) -> "ModelVersionResponse":
    """Return the version that holds this classifier, made in both registries unless it is there already.

    What its card states is kept with the version, not in the classifier: a changed sentence trains nothing again.
    """
    from zenml import log_metadata
    from zenml.client import Client

    client = Client()
    version = _registered(model, classifier)
    if version is None:
        if not client.list_models(name=f"equals:{model}").items:
            client.create_model(model)
        version = client.create_model_version(model)
        _link_inputs(version)
        in_mlflow = _register_in_mlflow(model, tracked_model)
        facts: dict[str, MetadataType] = {"classifier": content(classifier), "mlflow_version": in_mlflow}
        log_metadata(metadata=facts, model_version_id=version.id)
    log_metadata(metadata={"statement": statement.model_dump(exclude_none=True)}, model_version_id=version.id)
    if decision.case != "identical":  # the version keeps the decision by which it came where it is
        log_metadata(metadata={"decision": decision.model_dump(mode="json")}, model_version_id=version.id)
    log_metadata({"model": model, "model_version": str(version.number)})  # on this step, to read a run back by
    return client.get_model_version(model, version.number)


def set_production(model: str, version: "ModelVersionResponse") -> None:
    """Make a version the one in production; the previous one is archived, and the version knows which it was."""
    present = Production.find(model)
    history = before(present.version) if present else []
    if present and present.version.id != version.id:
        history.append(present.version.number)
    _set(model, version, history)


def put_back(model: str, version: "ModelVersionResponse", present: "ModelVersionResponse") -> None:
    """Make a version of those `before` the present one the one in production again; the present one is archived.

    Raises InputError where the tracker of the active stack does not know it.
    """
    from mlflow.exceptions import MlflowException

    history = before(present)
    try:
        _set(model, version, history[: history.index(version.number)])
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(
            f"The active stack's MLflow has no version {version.run_metadata.get('mlflow_version')} of {model!r}: "
            "choose the stack that it was trained on with `zenml stack set NAME`."
        ) from error


def before(version: "ModelVersionResponse") -> list[int]:
    """Return the numbers of the versions that were in production before this one, the last of them at the end."""
    from zenml.client import Client
    from zenml.enums import ModelStages
    from zenml.utils.pagination_utils import depaginate

    noted = version.run_metadata.get(BEFORE)
    if isinstance(noted, list):
        return [int(str(number)) for number in noted]
    # It came into production when nothing was noted yet: what is known is the order in which they were trained.
    name = version.model.name
    archived = depaginate(Client().list_model_versions, model_name_or_id=name, stage=ModelStages.ARCHIVED)
    return sorted(each.number for each in archived if each.number < version.number)


def _set(model: str, version: "ModelVersionResponse", history: list[int]) -> None:
    from zenml import log_metadata
    from zenml.client import Client
    from zenml.enums import ModelStages

    _mlflow_client().set_registered_model_alias(model, ALIAS, str(version.run_metadata["mlflow_version"]))
    log_metadata(metadata={BEFORE: history}, model_version_id=version.id)
    Client().update_model_version(model, version.id, stage=ModelStages.PRODUCTION, force=True)


def _registered(model: str, classifier: Classifier) -> "ModelVersionResponse | None":
    from zenml.client import Client

    client = Client()
    if not client.list_models(name=f"equals:{model}").items:
        return None
    wanted = content(classifier)
    versions = client.list_model_versions(model_name_or_id=model, hydrate=True, sort_by="desc:number", size=200).items
    return next((version for version in versions if version.run_metadata.get("classifier") == wanted), None)


def _link_inputs(version: "ModelVersionResponse") -> None:
    from zenml import get_step_context
    from zenml.model.utils import link_artifact_version_to_model_version

    inputs = get_step_context().step_run.inputs
    for name in LINKED:
        for artifact in inputs[name]:
            link_artifact_version_to_model_version(artifact, version)


def _register_in_mlflow(model: str, tracked_model: str) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = _mlflow_client()
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    info = mlflow.models.get_model_info(tracked_model)  # a server wants to know both of them; sqlite asks for neither
    made = client.create_model_version(model, tracked_model, run_id=info.run_id, model_id=info.model_id)
    return str(made.version)


def _mlflow_client() -> "MlflowClient":
    from mlflow import MlflowClient
    from zenml.client import Client
    from zenml.integrations.mlflow.experiment_trackers import MLFlowExperimentTracker

    tracker = Client().active_stack.experiment_tracker
    assert isinstance(tracker, MLFlowExperimentTracker)  # run.py starts on no stack with another
    tracker.configure_mlflow()
    return MlflowClient()


def _trained_on(test: "pd.DataFrame", own: Dataset, dataset: Dataset) -> "pd.Series":
    """Mark test images that are, or whose patient is, in the training data of the version in production."""
    index = own.index()
    seen = index[index["split"] != "test"]
    marked = test["sha256"].isin(seen["sha256"])
    if own.info.grouping == dataset.info.grouping == "patient":
        marked |= test["group"].isin(seen["group"])
    return marked


def _answers(champion: Classifier, record: EvaluationRecord, fair: "pd.DataFrame", dataset: Dataset) -> np.ndarray:
    stored = record.predictions()
    stored = stored[stored["split"] == "test"].drop_duplicates("sha256").set_index("sha256")
    known = dict(zip(stored.index, probability_columns(stored), strict=True))
    new = fair[~fair["sha256"].isin(known.keys())]
    if len(new):
        encoded = dataset.read(new["sample_id"].tolist())
        fresh = champion.predict(encoded.values(), max_pixels=INGESTED).probabilities
        known |= dict(zip(new["sha256"], fresh, strict=True))
    k = len(champion.info.class_names)
    return np.array([known[sha] for sha in fair["sha256"]], dtype=np.float64).reshape(-1, k)
