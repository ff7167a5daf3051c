"""What does every step import? Imported once while the image is built, which compiles it and nothing else.

Every step starts in a container of its own: what is not compiled here, each of them compiles again.
"""

import importlib
import sys

MODULES = (
    "gdown",
    "keras",
    "matplotlib.pyplot",
    "mlflow",
    "openvino",
    "pyarrow.parquet",
    "pydicom.pixels",
    "rich.console",
    "s3fs",
    "sagemaker.workflow.pipeline",
    "scipy.cluster.hierarchy",
    "scipy.optimize",
    "sklearn.cluster",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "tensorflow",
    "threadpoolctl",
    "zenml.entrypoints.entrypoint",
    "zenml.integrations.aws.container_registries",
    "zenml.integrations.aws.image_builders",
    "zenml.integrations.aws.orchestrators",
    "zenml.integrations.aws.orchestrators.sagemaker_orchestrator_entrypoint_config",
    "zenml.integrations.mlflow.experiment_trackers",
    "zenml.integrations.mlflow.model_registries",
    "zenml.integrations.s3.artifact_stores",
    "zenml.orchestrators.step_runner",
)


def main() -> None:
    """Import them, as the entry point of a step does; what cannot be imported fails the build."""
    sys.dont_write_bytecode = False
    for name in MODULES:
        importlib.import_module(name)
    from zenml.integrations.registry import integration_registry

    integration_registry.activate_integrations()


if __name__ == "__main__":
    main()
