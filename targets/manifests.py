"""What does Kubernetes need to know of a service?"""

from pathlib import Path
from typing import Any

from diascope.deployment_settings import DeploymentSettings
from targets.naming import short_name
from targets.target import Service

TEMPLATE = "kubernetes.yaml.j2"
LONGEST = 50  # pods are named after their deployment, with 16 characters behind it
USER = 1034  # of the image; a cluster that wants it as a number finds it here
QUIET = {"DIASCOPE_MONITORING": ""}  # records would be gone with the pod; set it, and a volume, to keep them


def object_name(service: str) -> str:
    """The name of everything that belongs to a service."""
    return short_name(service, LONGEST)


def render(service: Service, settings: DeploymentSettings) -> str:
    """The manifests as one YAML text of several documents."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # YAML, no page
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    said: dict[str, Any] = settings.kubernetes.model_dump() | {
        "name": object_name(service.name),
        "service": service.name,
        "model": service.model,
        "version": service.version,
        "image": service.image,
        "user": USER,
        "environment": QUIET | settings.environment,
    }
    return environment.get_template(TEMPLATE).render(said)


def write(text: str, service: str, folder: str) -> Path:
    """Put the manifests into the folder, and return the file; raises InputError where it cannot be written."""
    from diascope.errors import InputError

    path = Path(folder) / f"{object_name(service)}.yaml"
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"The manifests {str(path)!r} cannot be written ({error.strerror}): choose another folder with "
            "--set deployment.kubernetes.folder=FOLDER."
        ) from error
    return path
