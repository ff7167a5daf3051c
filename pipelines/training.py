"""From a folder of images to the best candidate, honestly evaluated and promoted if it deserves it."""

from zenml import pipeline

from diascope import sources
from diascope.config import (
    CandidateConfig,
    ChecksConfig,
    DatasetConfig,
    EvaluationConfig,
    PromotionConfig,
    SelectionConfig,
)
from diascope.features import FeatureSpec
from diascope.statement import Statement
from diascope.sweep_config import SweepConfig
from diascope.sweep_features import files_of
from pipelines.data import find_version
from steps.base_model import base_model
from steps.check_data import check_data
from steps.evaluate_model import evaluate_model
from steps.explore_data import explore_data
from steps.extract_features import extract_features
from steps.group_images import group_images
from steps.ingest_data import ingest_data
from steps.promote_model import promote_model
from steps.select_model import select_model
from steps.sweep_settings import sweep_settings
from steps.train_model import train_model


@pipeline
def training(
    dataset: DatasetConfig,
    candidates: list[CandidateConfig],
    promotion: PromotionConfig,
    checks: ChecksConfig,
    selection: SelectionConfig,
    evaluation: EvaluationConfig,
    card: Statement,
    seed: int,
    sweep: SweepConfig | None = None,
) -> None:
    """Train, compare, evaluate and promote."""
    if dataset.version is None:
        images = ingest_data(dataset, checks, seed, sources.fingerprint(dataset.source, dataset.sha256))
    else:
        images = find_version(dataset.version)
    check_data(images)

    specs = [FeatureSpec.of(candidate) for candidate in candidates]
    backbones, features = {}, {}  # candidates that see the same features share them
    for candidate, spec in zip(candidates, specs, strict=True):
        if spec.key not in backbones:
            weights = " ".join(map(sources.fingerprint, spec.files))
            backbones[spec.key] = base_model(spec, seed, weights, id=f"base_model_{candidate.name}")
        if spec.key not in features and not candidate.trains_network:
            network = backbones[spec.key]
            features[spec.key] = extract_features(images, network, id=f"extract_features_{candidate.name}")

    first = next(iter(features.values()), None)
    groups = group_images(images, seed, first)
    explore_data(images, groups, seed, first)
    trained = [
        train_model(
            candidate,
            selection,
            seed,
            images,
            backbones[spec.key],
            groups,
            None if candidate.trains_network else features[spec.key],
            id=f"train_{candidate.name}",
        )
        for candidate, spec in zip(candidates, specs, strict=True)
    ]
    networks = [backbones[spec.key] for spec in specs]
    frozen = [
        features[spec.key] for candidate, spec in zip(candidates, specs, strict=True) if not candidate.trains_network
    ]
    if sweep is not None:
        weights = " ".join(map(sources.fingerprint, files_of(sweep)))
        swept = sweep_settings(sweep, candidates, selection, seed, weights, images, groups, trained, networks, frozen)
        trained = [*trained, swept]
    selected = select_model(
        candidates,
        selection,
        evaluation,
        promotion.model,
        seed,
        images,
        groups,
        trained,
        networks,
        frozen,
    )
    classifier, measured, tracked = evaluate_model(selection, evaluation, images, trained, selected)
    promote_model(promotion, card, seed, images, classifier, measured, tracked)
