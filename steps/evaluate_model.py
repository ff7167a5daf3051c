"""Read the test split once, with the stored classifier."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.calibration import softmax
from diascope.classifier import Classifier
from diascope.config import EvaluationConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.evaluation import (
    EvaluationRecord,
    decide_test,
    in_order,
    measure_test,
    mistakes,
    out_of_fold_table,
    predict_test,
    store_evaluation,
)
from diascope.results import Evaluation
from diascope.selection import select
from diascope.trained_candidate import TrainedCandidate
from materializers.folder import DataMaterializer, ModelMaterializer, scratch
from steps.caching import depends_on_library
from steps.tracking import log_evaluation


@step(
    output_materializers={"classifier": ModelMaterializer, "evaluation": DataMaterializer},
    cache_policy=depends_on_library(__file__),
    experiment_tracker=True,
)
def evaluate_model(
    selection: SelectionConfig,
    evaluation: EvaluationConfig,
    dataset: Dataset,
    trained: list[TrainedCandidate],
    selected: Classifier,
) -> tuple[
    Annotated[Classifier, ArtifactConfig(name="classifier")],
    Annotated[EvaluationRecord, ArtifactConfig(name="evaluation")],
    Annotated[str, ArtifactConfig(name="tracked_model")],
]:
    """Return the classifier with its test metrics inside, the evaluation, and the tracker's address of the model."""
    import pandas as pd

    results = in_order(trained)
    winner, sentence = select(results, selection)
    test = predict_test(selected, dataset)
    metrics = measure_test(test, selected, dataset.info.grouping, evaluation)
    rows, logits = trained[results.index(winner)].out_of_fold()
    probabilities = softmax(logits, selected.info.temperature)
    assert selected.info.validation is not None
    record = store_evaluation(
        Evaluation(
            class_names=selected.info.class_names,
            winner=winner,
            candidates=results,
            selection=sentence,
            metric=selection.metric,
            method=selection.method,
            groups=dataset.info.grouping,
            temperature=selected.info.temperature,
            validation=selected.info.validation,
            test=metrics,
            decisions=decide_test(test, selected, dataset.info.grouping, evaluation),
            mistakes=mistakes(test, selected),
            dataset_fingerprint=dataset.info.fingerprint,
            seed=selected.info.training.seed,
        ),
        pd.concat([out_of_fold_table(dataset, rows, probabilities), test]),
        dataset,
        scratch(),
    )
    classifier = selected.with_test(metrics, scratch())
    return classifier, record, log_evaluation(classifier, record)
