"""Where are the stored versions of the dataset?"""

from typing import TYPE_CHECKING, Any

from diascope.dataset_versions import StoredVersion
from diascope.downloads import shown
from diascope.errors import InputError

if TYPE_CHECKING:
    from zenml.models import ArtifactVersionResponse

    from diascope.dataset import Dataset

NAME = "dataset"  # of the artifact


def stored_versions() -> list[StoredVersion]:
    """Return what is known of every stored version, the oldest first; their images are not read."""
    return [_described(each) for each in _versions()]


def find_version(number: int, *, usable: bool = True) -> "ArtifactVersionResponse":
    """Return a stored version; raises InputError where there is none, or not all of it is there any more.

    `usable`: also where the steps of the active stack could not read it, because it lies in another artifact store.
    """
    found = _version(number)
    if usable:
        _check_store(found)
    _open(found)
    return found


def open_version(number: int) -> "Dataset":
    """Return the dataset of a stored version; raises InputError as `find_version` does."""
    return _open(find_version(number, usable=False))


def _version(number: int) -> "ArtifactVersionResponse":
    from zenml.client import Client

    # Not get_artifact_version: while a pipeline is put together it gives a promise instead of the version.
    found = Client().list_artifact_versions(artifact=NAME, version=str(number), hydrate=True).items
    if found:
        return found[0]
    known = [str(each.version) for each in _versions()]
    there = f"the last is {known[-1]}, and --data lists all" if known else "none is stored yet; run --training first"
    raise InputError(f"There is no version {number} of the stored dataset: {there}.")


def _versions() -> "list[ArtifactVersionResponse]":
    from zenml.client import Client
    from zenml.utils.pagination_utils import depaginate

    found = depaginate(Client().list_artifact_versions, artifact=NAME, hydrate=True)
    return sorted((each for each in found if str(each.version).isdecimal()), key=lambda each: int(each.version))


def _described(version: "ArtifactVersionResponse") -> StoredVersion:
    said: dict[str, Any] = version.run_metadata
    return StoredVersion(
        version=int(version.version),
        created=version.created.isoformat(timespec="seconds"),
        source=shown(str(said.get("source", ""))),
        fingerprint=str(said.get("fingerprint", "")),
        images=said.get("images", {}),
        counts=said.get("counts", {}),
        run=_run(version),
    )


def _run(version: "ArtifactVersionResponse") -> str:
    from zenml.client import Client

    if version.producer_pipeline_run_id is None:
        return ""
    try:
        return Client().get_pipeline_run(version.producer_pipeline_run_id, hydrate=False).name
    except KeyError:
        return ""


def _check_store(version: "ArtifactVersionResponse") -> None:
    from zenml.client import Client

    client = Client()
    active = client.active_stack.artifact_store
    if version.artifact_store_id not in (None, active.id):
        raise InputError(
            f"Version {version.version} of the stored dataset lies in another artifact store than that of the active "
            f"stack, {active.name!r}: activate the stack that stored it, or leave out dataset.version."
        )


def _open(version: "ArtifactVersionResponse") -> "Dataset":
    try:
        return version.load()
    except (FileNotFoundError, NotADirectoryError, InputError) as error:
        raise InputError(
            f"Version {version.version} of the stored dataset can no longer be read ({error}): take another version, "
            "or leave out dataset.version to bring the images in anew."
        ) from error
