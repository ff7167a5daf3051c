"""How is told what Diascope made on AWS, and for which service?"""

from collections.abc import Mapping

from targets.target import Service

SERVICE, VERSION, MODEL = "diascope:service", "diascope:version", "diascope:model"


def tags_of(service: Service, own: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of what stays from version to version; `own` are the user's."""
    return {**own, SERVICE: service.name, MODEL: service.model}


def tags_of_version(service: Service, own: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of what is made for one version."""
    return tags_of(service, own) | {VERSION: str(service.version)}


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as most of Amazon's services take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
