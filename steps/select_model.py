"""Choose the winner, calibrate it, fit it on all training data and store it as a classifier."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.abstention import choose_abstention
from diascope.candidates import refit
from diascope.classifier import Classifier, ClassifierInfo, Input, Training
from diascope.config import CandidateConfig, EvaluationConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.evaluation import calibrate, in_order, interval_unit, measure_out_of_fold
from diascope.features import Backbone, Features
from diascope.reference import reference_of
from diascope.selection import select
from diascope.trained_candidate import TrainedCandidate
from materializers.folder import ModelMaterializer, scratch
from steps.caching import depends_on_library


@step(output_materializers=ModelMaterializer, cache_policy=depends_on_library(__file__))
def select_model(
    candidates: list[CandidateConfig],
    selection: SelectionConfig,
    evaluation: EvaluationConfig,
    name: str,
    seed: int,
    dataset: Dataset,
    groups: dict[str, str],
    trained: list[TrainedCandidate],
    backbones: list[Backbone],
    features: list[Features],
) -> Annotated[Classifier, ArtifactConfig(name="selected_classifier")]:
    """Return the winner; backbones are in the order of the candidates, features of the frozen ones.

    What a search or a sweep made of a candidate comes after the candidates, and builds on its network and features.
    """
    from diascope.assembly import store_classifier

    results = in_order(trained)
    winner, _ = select(results, selection)
    made = trained[results.index(winner)]
    default = dict(zip((each.name for each in candidates), backbones, strict=True))[made.base]
    frozen = (each.name for each in candidates if not each.trains_network)
    stored = dict(zip(frozen, features, strict=True)).get(made.base)
    development = Development.of(dataset, groups)
    temperature, point, rows, probabilities = calibrate(made, development, evaluation)
    network, head = refit(made, default, dataset, stored, groups, seed)
    backbone, inputs = made.backbone(default), made.inputs(stored)
    reference, familiarity = reference_of(made, network, backbone, dataset, inputs, development, seed)
    unit = interval_unit(dataset.info.grouping)
    info = ClassifierInfo(
        name=name,
        class_names=development.class_names,
        input=Input(size=backbone.info.size, preparation=backbone.info.spec.preparation),
        precision=backbone.info.precision,
        temperature=temperature,
        operating_point=point,
        activation_map=None,
        familiarity=familiarity,
        abstention=choose_abstention(probabilities, development.class_names, point, evaluation.abstain),
        training=Training(
            candidate=made.candidate.model_dump(mode="json"),
            chosen=winner.chosen,
            n=len(development.labels),
            dataset_source=dataset.info.source,
            dataset_fingerprint=dataset.info.fingerprint,
            groups=dataset.info.grouping,
            seed=seed,
        ),
        validation=measure_out_of_fold(development, rows, probabilities, temperature, point, unit, evaluation, seed),
        versions={},
        files={},
    )
    return store_classifier(network, head.scaled(temperature), backbone.info, info, scratch(), reference)
