"""Which image does a step run in, where steps run in containers?

The image holds packages alone, so it depends on the pinned requirements and is built once for all runs; the code comes
from the artifact store. `container/steps/Dockerfile` says how it is made.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import yaml

from diascope.docker import NETWORK, PASSED_ON

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "container" / "steps"
PARENT = "DIASCOPE_PARENT_IMAGE"  # to build on: an image of a private registry, or one fixed by its digest
DEFAULT_PARENT = "python:3.11-slim"
GPU_INSTANCE = re.compile(r"ml\.[gp]\d")  # SageMaker's families with NVIDIA GPUs


def with_images(configuration: str) -> str:
    """Return a run configuration (YAML) in which every step has its image: with CUDA where its instance has GPUs.

    What the configuration itself says under `settings.docker` goes before what is chosen here.
    """
    document = yaml.safe_load(configuration)
    settings = document.setdefault("settings", {})
    common = _has_gpu(settings)
    said = settings.get("docker", {})
    settings["docker"] = docker_settings(gpu=common) | said
    for step in document.get("steps", {}).values():
        own = step.get("settings", {})
        gpu = _has_gpu(settings | own)
        if gpu != common:
            step["settings"] = own | {"docker": docker_settings(gpu=gpu) | said | own.get("docker", {})}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def docker_settings(*, gpu: bool = False) -> dict[str, Any]:
    """Return ZenML's `docker` settings for the image of the CPU or of the GPU variant.

    Paths are relative to where this process works, so that they say nothing of the machine, and the same settings,
    which ZenML finds an earlier build by, come out on every machine.
    """
    variant = "gpu" if gpu else "cpu"
    parent = os.environ.get(PARENT, "").strip() or DEFAULT_PARENT
    requirements = f"requirements/steps-{variant}.txt"
    return {
        "dockerfile": _relative(FOLDER / "Dockerfile"),
        "build_context_root": _relative(ROOT),
        "parent_image_build_config": {
            "dockerignore": _relative(FOLDER / "dockerignore"),
            "build_options": {
                "build_args": {"PARENT_IMAGE": parent, "REQUIREMENTS": requirements},
                "quiet": True,
                **_of_this_network(),
            },
        },
        "image_tag": f"steps-{variant}-{_digest(requirements, parent)}",
        "install_stack_requirements": False,  # they are pinned with everything else
        "allow_including_files_in_images": False,
        "allow_download_from_code_repository": False,
    }


def _has_gpu(settings: dict[str, Any]) -> bool:
    sagemaker = settings.get("orchestrator.sagemaker", {})
    instance = sagemaker.get("estimator_args", {}).get("instance_type") or sagemaker.get("instance_type")
    return bool(GPU_INSTANCE.match(instance or "") or settings.get("resources", {}).get("gpu_count"))


def _of_this_network() -> dict[str, Any]:
    """What the builder needs to know of its network, by name alone: values stay out of what ZenML keeps of a run.

    The `docker` command looks such names up itself, so this needs an image builder with `use_subprocess_call`.
    """
    network = os.environ.get(NETWORK, "").strip()
    names = [name for name in PASSED_ON if os.environ.get(name)]
    return ({"network": network} if network else {}) | ({"build_arg": names} if names else {})


def _digest(requirements: str, parent: str) -> str:
    """What the image is made of: another tag for anything else in it."""
    digest = hashlib.sha256(parent.encode())
    parts = sorted(path for path in FOLDER.iterdir() if path.is_file())
    for path in (ROOT / requirements, FOLDER.parent / "trim.py", *parts):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _relative(path: Path) -> str:
    return os.path.relpath(path)
