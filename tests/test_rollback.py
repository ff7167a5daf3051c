"""Which model is in production after `run.py --rollback`, in ZenML and in MLflow?"""

import pytest

from commands.start import start_zenml

MODEL = "rolled"


@pytest.fixture(scope="module")
def made(workplace):
    """A function that makes a version of a model in both registries and puts it into production."""
    import mlflow
    from zenml import log_metadata
    from zenml.client import Client

    from stacks.local import ensure_tracking_stack
    from steps.registry import set_production

    start_zenml(debug=False)
    ensure_tracking_stack()
    client = Client()
    client.active_stack.experiment_tracker.configure_mlflow()

    def make(model: str, *, promoted: bool = True):
        if not client.list_models(name=f"equals:{model}").items:
            client.create_model(model)
            mlflow.MlflowClient().create_registered_model(model)
        version = client.create_model_version(model)
        in_mlflow = mlflow.MlflowClient().create_model_version(model, f"s3://bucket/{model}/{version.number}").version
        log_metadata(metadata={"mlflow_version": str(in_mlflow)}, model_version_id=version.id)
        version = client.get_model_version(model, version.number)
        if promoted:
            set_production(model, version)
        return version

    return make


def promote(model: str, number: int) -> None:
    from zenml.client import Client

    from steps.registry import set_production

    set_production(model, Client().get_model_version(model, number))


def stages(model: str) -> dict[int, str | None]:
    from zenml.client import Client

    versions = Client().list_model_versions(model_name_or_id=model).items
    return {version.number: version.stage for version in versions}


def champion(model: str) -> int:
    import mlflow

    return int(mlflow.MlflowClient().get_model_version_by_alias(model, "champion").version)


def test_the_version_before_is_in_production_again_in_both_registries(made, train):
    for _ in range(2):
        made(MODEL)
    assert champion(MODEL) == 2

    done = train("--rollback", "--set", f"promotion.model={MODEL}")

    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"Version 1 of '{MODEL}' is in production again, and version 2 is archived; what is served follows with "
        "--deployment.\n"
    )
    assert stages(MODEL) == {1: "production", 2: "archived"}
    assert champion(MODEL) == 1


def test_there_is_nothing_before_the_first(made, train):
    made("only")
    done = train("--rollback", "--set", "promotion.model=only")
    assert done.status == 2
    assert done.err == "No version of 'only' was in production before version 1: there is nothing to go back to.\n"
    assert stages("only") == {1: "production"}


def test_nothing_in_production_is_one_sentence(workplace, train):
    done = train("--rollback", "--set", "promotion.model=nobody")
    assert (done.status, done.err) == (2, "No version of 'nobody' is in production: run --training first.\n")


def test_a_version_that_never_was_in_production_is_passed_over(made, train):
    made("gated")
    made("gated", promoted=False)
    made("gated")
    done = train("--rollback", "--json", "--set", "promotion.model=gated")
    assert done.result == {"model": "gated", "version": 1, "replaced": 3}
    assert stages("gated") == {1: "production", 2: None, 3: "archived"}


def test_each_further_one_goes_one_back_and_ends(made, train):
    """The order is that in which they were in production, not that of their numbers."""
    for _ in range(3):
        made("often")
    promote("often", 1)  # trained once more, and better on other test images
    for replaced, version in ((1, 3), (3, 2), (2, 1)):
        done = train("--rollback", "--json", "--set", "promotion.model=often")
        assert done.result == {"model": "often", "version": version, "replaced": replaced}
        assert champion("often") == version
    assert train("--rollback", "--set", "promotion.model=often").status == 2


def test_a_promotion_after_a_rollback_counts_from_there(made, train):
    for _ in range(2):
        made("again")
    train("--rollback", "--set", "promotion.model=again")
    made("again")  # version 3, which takes the place of 1
    done = train("--rollback", "--json", "--set", "promotion.model=again")
    assert done.result == {"model": "again", "version": 1, "replaced": 3}
    assert train("--rollback", "--set", "promotion.model=again").status == 2


def test_the_same_promotion_twice_is_one(made, train):
    made("twice")
    made("twice")
    promote("twice", 2)
    assert train("--rollback", "--json", "--set", "promotion.model=twice").result["version"] == 1


def test_a_version_that_was_deleted_since_is_passed_over(made, train):
    from zenml.client import Client

    versions = [made("deleted") for _ in range(3)]
    Client().delete_model_version(versions[1].id)
    done = train("--rollback", "--json", "--set", "promotion.model=deleted")
    assert done.result == {"model": "deleted", "version": 1, "replaced": 3}


def test_versions_from_before_anything_was_noted_go_by_their_numbers(made, train):
    from zenml.client import Client

    from steps.registry import BEFORE

    made("old")
    made("old")
    client = Client()
    version = client.get_model_version("old", 2)
    assert version.run_metadata[BEFORE] == [1]
    third = made("old", promoted=False)
    client.update_model_version("old", third.id, stage="production", force=True)  # as earlier releases did
    done = train("--rollback", "--json", "--set", "promotion.model=old")
    assert done.result == {"model": "old", "version": 2, "replaced": 3}


def test_an_mlflow_that_does_not_know_the_model_changes_nothing(made, train):
    import mlflow

    for _ in range(2):
        made("elsewhere")
    mlflow.MlflowClient().delete_registered_model("elsewhere")
    done = train("--rollback", "--set", "promotion.model=elsewhere")
    assert done.status == 2
    assert done.err == (
        "The active stack's MLflow has no version 1 of 'elsewhere': choose the stack that it was trained on with "
        "`zenml stack set NAME`.\n"
    )
    assert stages("elsewhere") == {1: "archived", 2: "production"}
