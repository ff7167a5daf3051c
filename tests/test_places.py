"""What ZenML knows of where model versions serve; a real store."""

import pytest

from diascope.deployment import Served

MODEL = "placed"


@pytest.fixture(scope="module")
def versions(workplace):
    from zenml.client import Client

    Client().create_model(MODEL)
    for _ in range(2):
        Client().create_model_version(MODEL)


def served(version: int, target: str = "container", **resources: str) -> Served:
    return Served(
        target=target, service=MODEL, version=version, url="http://x", resources=resources, previous=None, parity=None
    )


def known(version: int) -> dict:
    from zenml.client import Client

    return Client().get_model_version(MODEL, version).run_metadata.get("deployments", {})


def test_what_serves_is_known_of_the_version_that_does_and_no_other(versions):
    from steps.places import forget, record

    record(MODEL, served(1, container="first"))
    record(MODEL, served(1, "ecs"))
    assert known(1) == {"container": served(1, container="first").model_dump(), "ecs": served(1, "ecs").model_dump()}
    assert known(2) == {}

    record(MODEL, served(2, image="second"))
    assert known(1) == {"container": None, "ecs": served(1, "ecs").model_dump()}
    assert known(2) == {"container": served(2, image="second").model_dump()}

    record(MODEL, served(1, image="third"))  # nothing of the first record is left in it
    assert known(1)["container"]["resources"] == {"image": "third"}

    forget(MODEL, "container")
    assert (known(1)["container"], known(2)["container"]) == (None, None)
    assert known(1)["ecs"] == served(1, "ecs").model_dump()


def test_a_model_that_is_not_there_is_nothing_to_forget(versions):
    from steps.places import forget

    forget("nobody", "container")
