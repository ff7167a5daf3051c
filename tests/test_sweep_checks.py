"""Is everything that is wrong with a sweep said in one sentence, before anything runs?"""

from pathlib import Path

import pytest
import yaml

from diascope.config import CandidateConfig
from diascope.errors import InputError
from diascope.experiment import ConfigurationError, load
from diascope.preflight import check_inputs, local_inputs
from diascope.sweep_checks import check_sweep
from diascope.sweep_config import SweepConfig

NETWORK = CandidateConfig(name="first", backbone="MobileNetV2", alpha=0.35)
OTHER = CandidateConfig(name="second", backbone="VGG16")
TUNED = CandidateConfig(name="tuned", backbone="VGG16", fine_tune_layers=3, learning_rate=1e-4)


def complaints(text: str, *candidates: CandidateConfig) -> list[str]:
    """Key and sentence of everything that is wrong with a sweep."""
    config = SweepConfig.model_validate(yaml.safe_load(text), strict=True)
    found = check_sweep(config, candidates or (NETWORK,))
    return [
        f"{'.'.join(map(str, each.path)).removeprefix('parameters.sweep').lstrip('.')}: {each.text}" for each in found
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{trials: 5, over: {head: [blend, mlp], learning_rate: {low: 0.0001, high: 0.1, log: true}}}",
        "{minutes: 0.5, method: random, over: {weight_decay: [auto, 0.001], epochs: {low: 10, high: 300}}}",
        "{method: grid, over: {weight_decay: [0.1, 0.01], epochs: {low: 10, high: 300, step: 50}}}",
        "{method: grid, trials: 4, over: {head: [ridge, logistic], image_sizes: [[224], [448, 224]]}}",
        "{trials: 5, over: {network: [{backbone: VGG16, alpha: null}, {backbone: MobileNetV2, layers: [last]}]}}",
        "{trials: 5, over: {preparation.denoise: [none, median], fine_tune_layers: [0, 5]}}",
        "{trials: 5, over: {augmentation.rotation_degrees: {low: 0, high: 15}, fine_tune_layers: [5, 10]}}",
    ],
)
def test_what_is_right_is_left_alone(text: str) -> None:
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{trials: 5, over: {learnin_rate: [1]}}",
            "over.learnin_rate: there is no key 'learnin_rate' of a candidate; the nearest is 'learning_rate'",
        ),
        (
            "{trials: 5, over: {augmentation.rotatoin: [1]}}",
            "over.augmentation.rotatoin: there is no key 'augmentation.rotatoin' of a candidate; the nearest is "
            "'augmentation.rotation_degrees'",
        ),
        (
            "{trials: 5, over: {name: [a]}}",
            "over.name: there is no key 'name' of a candidate; the nearest is 'layers'",
        ),
        (
            "{trials: 5, over: {network: [{backbone: VGG16, alpah: 1}, {backbone: ResNet50}]}}",
            "over.network.0.alpah: there is no key 'alpah' of a candidate; the nearest is 'alpha'",
        ),
        (
            "{trials: 5, over: {weight_decay: [auto, -1.0, much]}}",
            "over.weight_decay.1: should be greater than or equal to 0 or 'auto', not -1.0 (candidate 'first')",
        ),
        (
            "{trials: 5, over: {image_sizes: [224, 448]}}",
            "over.image_sizes.0: should be a list, not 224 (candidate 'first')",
        ),
        (
            "{trials: 5, over: {epochs: [ten, 5]}}",
            "over.epochs.0: should be a whole number, not 'ten' (candidate 'first')",
        ),
        (
            "{trials: 5, over: {alpha: [0.35, 0.4]}}",
            "over.alpha.1: there are ImageNet weights of MobileNetV2 for alpha 0.35, 0.5, 0.75, 1, 1.3, 1.4, not for "
            "0.4 (candidate 'first')",
        ),
        (
            "{trials: 5, over: {backbone: [VGG61]}}",
            "over.backbone.0: there is no backbone 'VGG61'; the nearest is 'VGG16' (candidate 'first')",
        ),
        (
            "{trials: 5, over: {augmentation.zoom: [0.1, 0.2], fine_tune_layers: [0, 5]}}",
            "over: augmentation.zoom 0.1 and fine_tune_layers 0 do not go together: augmentation needs a network that "
            "is trained: set fine_tune_layers, or leave it out (candidate 'first')",
        ),
        (
            "{trials: 5, over: {weight_decay: {low: 1.0, high: 0.1}}}",
            "over.weight_decay: low (1) should be below high (0.1)",
        ),
        (
            "{trials: 5, over: {weight_decay: {low: 0.1, high: 0.1}}}",
            "over.weight_decay: low (0.1) should be below high (0.1)",
        ),
        (
            "{trials: 5, over: {weight_decay: {low: 0, high: 0.1, log: true}}}",
            "over.weight_decay.low: should be greater than 0 where log is true, not 0",
        ),
        (
            "{trials: 5, over: {weight_decay: {low: 0.01, high: 0.1, log: true, step: 0.01}}}",
            "over.weight_decay: log and step do not go together: give a list of values",
        ),
        (
            "{trials: 5, over: {weight_decay: {low: 0.01, hihg: 0.1}}}",
            "over.weight_decay.high: is missing",
        ),
        (
            "{trials: 5, over: {epochs: {low: 1, high: 10, step: 10}}}",
            "over.epochs.step: should fit between low and high, not be 10",
        ),
        (
            "{trials: 5, over: {epochs: {low: 1, high: 9.5}}}",
            "over.epochs: epochs takes whole numbers alone",
        ),
        (
            "{trials: 5, over: {dropout: {low: 0, high: 1}, head: [mlp]}}",
            "over.dropout.high: should be less than 1, not 1.0 (candidate 'first')",
        ),
        ("{trials: 5, over: {head: []}}", "over.head: should not be empty"),
        ("{trials: 5, over: {head: ridge}}", "over.head: should be a list of values, or a mapping with low and high"),
        ("{trials: 5, over: {head: [ridge, blend, ridge]}}", "over.head.2: the value 'ridge' stands there twice"),
        (
            "{trials: 5, over: {learning_rate: [0.1, 0.2]}}",
            "over.learning_rate: has no effect on 'first', whose head is blend: leave it out",
        ),
        (
            "{over: {head: [ridge]}}",
            "needs a budget: say trials or minutes, or both (tpe never ends by itself)",
        ),
        (
            "{method: grid, trials: 5, over: {head: [ridge, blend], weight_decay: [0.1, 0.2, 0.3]}}",
            "trials: the grid has 6 points (2 x 3) and the budget is 5 trials: leave values out, raise trials, or say "
            "method: random",
        ),
        (
            "{method: grid, over: {weight_decay: {low: 0.01, high: 0.1, log: true}}}",
            "over.weight_decay: a grid needs values: give a list, or a step without log",
        ),
        (
            "{trials: 5, candidate: frist, over: {head: [ridge]}}",
            "candidate: there is no candidate 'frist'; the nearest is 'first'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, said: str) -> None:
    assert complaints(text)[0].removeprefix(": ") == said


def test_what_any_candidate_that_may_win_refuses_is_refused() -> None:
    text = "{trials: 5, over: {alpha: [0.35, 0.5]}}"
    (first, _) = complaints(text, NETWORK, OTHER)
    assert first == "over.alpha.0: alpha is for MobileNet and MobileNetV2, not for VGG16 (candidate 'second')"
    assert complaints(text.replace("trials", "candidate: first, trials"), NETWORK, OTHER) == []


def test_a_key_that_one_of_the_candidates_reads_has_an_effect() -> None:
    text = "{trials: 5, over: {learning_rate: [0.001, 0.0001]}}"
    assert complaints(text, OTHER, TUNED) == []
    assert complaints(text, OTHER, NETWORK) != []


def test_what_is_found_needs_a_name_of_its_own() -> None:
    taken = OTHER.model_copy(update={"name": "first_swept"})
    (said,) = complaints("{trials: 5, candidate: first, over: {head: [ridge]}}", NETWORK, taken)
    assert "would be called 'first_swept', as a candidate is" in said


def test_a_large_space_is_checked_quickly() -> None:
    many = [round(0.01 * i, 2) for i in range(1, 60)]
    over = dict.fromkeys(("dropout", "learning_rate", "weight_decay"), many) | {"head": ["mlp"], "epochs": [1, 2]}
    assert complaints(yaml.safe_dump({"trials": 5, "over": over})) == []


EXPERIMENT = """
parameters:
  dataset: {source: demo}
  candidates: [{name: first, backbone: MobileNetV2, alpha: 0.35}]
  promotion: {model: test}
  sweep: {trials: 5, over: {head: [ridge, logistic]}}
"""


def lines(folder: Path, *overrides: str) -> list[str]:
    path = folder / "x.yaml"
    path.write_text(EXPERIMENT)
    with pytest.raises(ConfigurationError) as raised:
        load(path, overrides)
    return [line.replace(f"{path}: ", "") for line in raised.value.lines]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sweep.trials=0", "should be greater than or equal to 1, not 0"),
        ("sweep.minutes=0", "should be greater than 0, not 0"),
        ("sweep.trials=many", "should be a whole number, not 'many'"),
        ("sweep.method=bayes", "should be 'grid', 'random' or 'tpe', not 'bayes'"),
        ("sweep.over={}", "should not be empty"),
        ("sweep.trial=3", "unknown key; the nearest is 'trials'"),
        ("sweep.over.hed=[mlp]", "there is no key 'hed' of a candidate; the nearest is 'head'"),
        ("sweep.over.head.0=rigde", "should be 'blend', 'logistic', 'ridge' or 'mlp', not 'rigde' (candidate 'first')"),
    ],
)
def test_the_file_and_overrides_are_checked(tmp_path: Path, override: str, said: str) -> None:
    assert lines(tmp_path, override) == [f"--set {override}: {said}"]


def test_a_sweep_is_a_step_that_settings_may_name(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(EXPERIMENT + "steps: {sweep_settings: {enable_cache: false}}\n")
    configuration = load(path)
    assert configuration.step_ids()["sweep_settings"] == "sweep_settings"
    resolved = yaml.safe_load(configuration.resolved())
    assert resolved["parameters"]["sweep"]["over"] == {"head": ["ridge", "logistic"]}
    assert resolved["steps"] == {"sweep_settings": {"enable_cache": False}}
    assert "sweep_settings" not in load(path, ["sweep=null", "steps={}"]).step_ids()
    with pytest.raises(ConfigurationError, match="there is no such step"):
        load(path, ["sweep=null"])


def test_weights_that_a_sweep_names_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(EXPERIMENT)
    absent = str(tmp_path / "absent.weights.h5")
    experiment = load(path, [f"sweep.over.weights=[imagenet, {absent}]"]).parameters
    with pytest.raises(InputError, match=r"^sweep\.over\.weights\.1: there is no file"):
        check_inputs(experiment)
    assert local_inputs(experiment) == {"sweep.over.weights.1": absent}
