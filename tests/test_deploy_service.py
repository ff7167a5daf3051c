"""What a deployment does with a target: ask, compare, record, and go back; the target and ZenML are stand-ins."""

from types import SimpleNamespace
from typing import Any

import pytest

from diascope.deployment import Image, Pushed, Release
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from diascope.parity import Measured
from steps import deploy_service as module
from targets.target import Deployed, Service, TargetError

RELEASE = Release(name="Chest_CT", version=2, created="now", stage="production", decision=None)
IMAGE = Image(tag="chest_ct:2", megabytes=1.0)
MEASURED = [Measured(f"image{n}", "a", {"a": 0.75, "b": 0.25}, 0.5) for n in range(20)]


class Target:
    """Answers as it is told."""

    name = "somewhere"

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {"label": "a", "probabilities": {"a": 0.751, "b": 0.249}, "distance": 0.5}
        self.answer["model"] = {"name": "Chest_CT", "version": "2"}
        self.error: BaseException | None = None
        self.url, self.previous = "https://there", 1
        self.asked = 0
        self.back: list[Deployed] = []
        self.stuck: Exception | None = None

    def deploy(self, service: Service) -> Deployed:
        self.service = service
        resources = {"next": "do more"}
        return Deployed(
            target=self.name,
            service=service.name,
            version=service.version,
            url=self.url,
            resources=resources,
            previous=self.previous,
        )

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        assert (service, image) == ("chest_ct", b"bytes of image%d" % self.asked)
        self.asked += 1
        if self.error and self.asked == 3:
            raise self.error
        return self.answer

    def roll_back(self, deployed: Deployed) -> None:
        self.back.append(deployed)
        if self.stuck:
            raise self.stuck


@pytest.fixture
def target(monkeypatch) -> Target:
    made = Target()
    made.logged, made.recorded = [], []
    monkeypatch.setattr(module, "open_target", lambda name, settings: made)
    monkeypatch.setattr(module, "measured", lambda record, classifier, n: MEASURED[:n])
    monkeypatch.setattr(module, "log_metadata", made.logged.append)
    monkeypatch.setattr(module, "record", lambda model, served: made.recorded.append((model, served)))
    return made


def run(pushed: Pushed | None = None, name: str = "somewhere", **settings: Any):
    dataset = SimpleNamespace(read=lambda ids: {each: f"bytes of {each}".encode() for each in ids})
    said = DeploymentSettings(**settings)
    return module.deploy_service.entrypoint(RELEASE, name, said, IMAGE, None, None, dataset, pushed)


def test_what_serves_is_compared_and_recorded(target):
    served = run()
    assert target.service == Service(name="chest_ct", version=2, model="Chest_CT", image="chest_ct:2")
    assert (target.asked, target.back) == (16, [])
    assert (served.url, served.version, served.previous) == ("https://there", 2, 1)
    assert (served.parity.n, served.parity.same_labels) == (16, True)
    assert served.parity.largest_difference == pytest.approx(0.001)
    assert target.logged == [{"deployed": served.model_dump(mode="json")}, {"url": "https://there"}]
    assert target.recorded == [("Chest_CT", served)]


def test_an_image_in_a_registry_is_named_by_its_digest(target):
    pushed = Pushed(uri="registry.example/chest_ct:2", digest="registry.example/chest_ct@sha256:0")
    run(pushed)
    assert target.service.image == "registry.example/chest_ct@sha256:0"
    target.asked = 0
    run(pushed, name="container")  # this machine's engine has it already, and knows no registry's password
    assert target.service.image == "chest_ct:2"


def test_as_many_images_are_asked_as_are_wanted(target):
    assert run(images=3).parity.n == 3
    target.asked = 0
    assert run(images=0).parity is None
    assert target.asked == 0


def test_what_is_not_applied_yet_is_neither_asked_nor_recorded(target):
    target.url = ""
    assert run().parity is None
    assert (target.asked, target.recorded) == (0, [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"label": "b"}, r"image0: answered is 'b', measured was 'a'"),
        ({"probabilities": {"a": 0.77, "b": 0.23}}, r"difference 0\.0200, at most 0\.01"),
        ({"distance": 0.9}, r"the distance to the training images is 0\.9"),
        ({"model": {"name": "Chest_CT", "version": "1"}}, r"Version 1 answers, deployed was 2\."),
    ],
)
@pytest.mark.parametrize(
    ("previous", "now"), [(1, "Version 1 serves again."), (None, "The service was removed again.")]
)
def test_an_answer_that_differs_is_taken_back_and_fails(target, answer, said, previous, now):
    target.answer |= answer
    target.previous = previous
    with pytest.raises(TargetError, match=rf"^somewhere: .*{said}.* {now}$"):
        run()
    assert [each.version for each in target.back] == [2]
    assert (target.logged, target.recorded) == ([], [])


@pytest.mark.parametrize("error", [TargetError("it broke."), InputError("it is closed."), KeyboardInterrupt()])
def test_whatever_ends_the_questions_is_taken_back(target, error):
    target.error = error
    with pytest.raises(type(error)):
        run()
    assert len(target.back) == 1
    assert target.recorded == []


def test_a_way_back_that_fails_is_told_with_what_led_to_it(target):
    target.error, target.stuck = TargetError("it broke."), TargetError("and it stays so.")
    with pytest.raises(TargetError, match=r"somewhere: it broke\. Going back failed, too: and it stays so\."):
        run()


def test_the_targets_of_the_command_line_are_those_that_there_are():
    import run as command
    import targets

    assert set(command.PLACES) == set(targets.TARGETS)
    assert set(targets.AWS) <= set(targets.TARGETS)


def test_an_unknown_target_is_one_sentence():
    from targets import find_target

    with pytest.raises(InputError, match="There is no target 'kubernets'; the nearest is 'kubernetes'"):
        find_target("kubernets", DeploymentSettings())
