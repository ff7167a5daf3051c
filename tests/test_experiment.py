import copy
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diascope.errors import InputError
from diascope.experiment import ConfigurationError, check, find_configuration, load, step_ids

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))}
REQUIRED = {"parameters", "dataset", "source", "candidates", "name", "backbone", "promotion"}
GOOD = """
parameters:
  dataset: {source: images}
  candidates:
    - {name: first, backbone: VGG16, epochs: 5}
    - {name: second, backbone: compact_cnn, weights: none}
  selection: {folds: 4}
  promotion: {model: test}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text)
    return path


def complaints(folder: Path, text: str, *overrides: str) -> list[str]:
    """What is said about this file, without the file's name."""
    path = write(folder, text)
    with pytest.raises(ConfigurationError) as raised:
        load(path, overrides)
    return [line.replace(f"{path}: ", "") for line in raised.value.lines]


def at(document, path):
    for part in path:
        document = document[part]
    return document


def key_paths(document, path=()):
    """Every key of every mapping."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(document, dict):
            yield (*path, key)
        if isinstance(value, dict | list):
            yield from key_paths(value, (*path, key))


def distinct(shipped):
    """Every key of every file, but the same key of two files or of two candidates once."""
    places = [(name, path) for name, document in shipped.items() for path in key_paths(document)]
    return list(
        {tuple(0 if isinstance(part, int) else part for part in path): (name, path) for name, path in places}.values()
    )


ALL_KEYS = distinct(SHIPPED)
FREE = {"tags", "class_map"}  # whose keys are the user's words
NAMED_KEYS = [(name, path) for name, path in ALL_KEYS if not FREE & set(path[:-1])]


def problem_paths(document, path, name):
    """What is wrong with the document after the key at `path` got another name."""
    mutant = copy.deepcopy(document)
    section = at(mutant, path[:-1])
    section[name] = section.pop(path[-1])
    return [problem.path for problem in check(mutant)]


# Shipped configurations


def test_there_are_configurations():
    assert {"demo", "chest_ct", "folder"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configuration_is_right(name):
    configuration = load(CONFIGS / f"{name}.yaml")

    assert configuration.parameters.candidates
    assert configuration.parameters.model_dump(exclude_unset=True) == SHIPPED[name]["parameters"]


@pytest.mark.parametrize(("name", "path"), NAMED_KEYS)
def test_every_key_misspelled_is_refused(name, path):
    key = path[-1]
    misspelled = {key[:i] + key[i + 1 :] for i in range(len(key))} | {key + "s", key[0] + key, key.upper()}
    misspelled |= {key[:i] + key[i + 1] + key[i] + key[i + 2 :] for i in range(len(key) - 1)}
    for each in misspelled - {key, ""}:
        assert (*path[:-1], each) in problem_paths(SHIPPED[name], path, each)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(NAMED_KEYS), st.integers(0, 40), st.sampled_from(string.ascii_lowercase + "_"))
def test_every_key_with_a_wrong_letter_is_refused(where, position, letter):
    name, path = where
    key = path[-1]
    position %= len(key)
    wrong = key[:position] + letter + key[position + 1 :]
    assume(wrong not in at(SHIPPED[name], path[:-1]))

    assert (*path[:-1], wrong) in problem_paths(SHIPPED[name], path, wrong)


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, path in ALL_KEYS if len(path) > 1])
def test_every_key_one_level_up_is_refused(name, path):
    mutant = copy.deepcopy(SHIPPED[name])
    value = at(mutant, path[:-1]).pop(path[-1])
    above = path[:-2] if isinstance(path[-2], str) else path[:-3]
    if path[-2:] == ("columns", "file"):
        pytest.skip("a key of this name, with another meaning, stands there too")
    at(mutant, above)[path[-1]] = value

    refused = {problem.path for problem in check(mutant)}
    assert (*above, path[-1]) in refused or ("original" in path and tuple(above) in refused)


@pytest.mark.parametrize(("name", "path"), ALL_KEYS)
def test_every_wrong_type_is_refused(name, path):
    value = at(SHIPPED[name], path)
    wrong = {
        bool: ["yes", 1, [], {}],
        int: [str(value), True, [value], {"value": value}],
        float: [str(value), True, [value], {"value": value}],
        str: [5, True, 0.5, [value], {"value": value}],
        list: ["avg", 5, True, {"0": 1}, [{}], [[]]],
        dict: ["text", 5, [], True, [value]],
    }[type(value)]
    if path[-1] == "trained_layers":  # a whole number or a word
        wrong.remove(5)
    for each in wrong:
        mutant = copy.deepcopy(SHIPPED[name])
        at(mutant, path[:-1])[path[-1]] = each
        problems = check(mutant)
        assert any(problem.path[: len(path)] == path for problem in problems), (each, problems)


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, path in ALL_KEYS if path[-1] in REQUIRED])
def test_every_required_key_is_missed(name, path):
    mutant = copy.deepcopy(SHIPPED[name])
    del at(mutant, path[:-1])[path[-1]]

    assert [(problem.path, problem.text) for problem in check(mutant)] == [(path, "is missing")]


# What is said


def test_every_problem_is_named(tmp_path):
    found = complaints(
        tmp_path,
        """
parameters:
  dataset: {source: images, sourec: x}
  candidates:
    - {name: first, backbone: vgg61, epoch: 5, weight_decay: much}
    - {name: second, backbone: VGG16, alpha: 0.5, image_sizes: [16]}
  promotion: {model: test, floors: {auroc: 90, acuracy: 0.5}}
  epochs: 5
selection: {folds: 3}
enable_cache: true
steps:
  train_frist: {}
  evaluate_model: {parameters: {seed: 1}}
settings:
  docker: {parent_imag: python}
  orchestrator.sagemakr: {}
  resources: {memory: 16 GB}
""",
    )

    assert found == [
        "parameters.dataset.sourec: unknown key; the nearest is 'source'",
        "parameters.candidates.0.backbone: there is no backbone 'vgg61'; the nearest is 'VGG16'",
        "parameters.candidates.0.weight_decay: should be a number or 'auto', not 'much'",
        "parameters.candidates.0.epoch: unknown key; the nearest is 'epochs'",
        "parameters.candidates.1.image_sizes.0: should be greater than or equal to 32, not 16",
        "parameters.promotion.floors.auroc: should be less than or equal to 1, not 90",
        "parameters.promotion.floors.acuracy: unknown key; the nearest is 'accuracy'",
        "parameters.epochs: does not belong here; it belongs under 'parameters.candidates.N'",
        "steps.evaluate_model.parameters: not allowed: they would go past the checks; "
        "say it under the top-level parameters",
        "selection: does not belong here; it belongs under 'parameters'",
        "enable_cache: not allowed: it overrides steps that must never be cached; use --no-cache, or set it for a step",
        "settings.docker.parent_imag: unknown key; the nearest is 'parent_image'",
        "settings.orchestrator.sagemakr: unknown key; the nearest is 'orchestrator.sagemaker'",
        "settings.resources.memory: should match '^[0-9]+(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB|PB|PiB)$', not '16 GB'",
        "steps.train_frist: there is no such step; the nearest is 'train_first'",
    ]


def test_an_unknown_key_does_not_hide_what_contradicts_itself(tmp_path):
    twins = "[{name: a, backbone: VGG16}, {name: a, backbone: VGG19}]"
    text = f"parameters: {{dataset: {{source: x, sorce: y}}, candidates: {twins}, promotion: {{model: m}}}}"

    assert complaints(tmp_path, text) == [
        "parameters.dataset.sorce: unknown key; the nearest is 'source'",
        "parameters: two candidates are named 'a'",
    ]


@pytest.mark.parametrize("key", ["image_sizes", "layers", "pooling", "test_time_augmentation"])
def test_what_is_named_twice_is_told_and_not_counted_twice(tmp_path, key):
    value = {"image_sizes": 64, "test_time_augmentation": "horizontal_flip", "layers": "last", "pooling": "avg"}[key]
    twice = f"[{{name: a, backbone: VGG16, {key}: [{value}, {value}]}}]"
    text = f"parameters: {{dataset: {{source: x}}, candidates: {twice}, promotion: {{model: m}}}}"

    assert complaints(tmp_path, text) == [f"parameters.candidates.0: {key} names something twice: each counts once"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "should be a mapping with the key 'parameters'"),
        ("- 1", "should be a mapping with the key 'parameters'"),
        ("a: [1", "line 1, column 6: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2", "line 2, column 1: is not YAML: found character '\\t' that cannot start any token"),
        ("a: !!python/object:os.system 1", "is not YAML: could not determine a constructor"),
        ("a: &a [*a]", "refers to itself"),
        ("[" * 5000 + "]" * 5000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, said):
    with pytest.raises(InputError, match=r"x\.yaml: ") as raised:
        load(write(tmp_path, text))

    assert said in str(raised.value)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    found = complaints(tmp_path, GOOD.replace("epochs: 5", "epochs: 5, epochs: 6"))

    assert found == ["parameters.candidates.0.epochs: stands in the file twice (lines 5 and 5)"]


def test_words_and_numbers_are_what_they_look_like(tmp_path):
    text = GOOD.replace("epochs: 5", "epochs: 5, learning_rate: 1e-4").replace(
        "source: images", "source: images, class_map: {no: healthy, yes: tumour, on: off}"
    )

    configuration = load(write(tmp_path, text)).parameters

    assert configuration.dataset.class_map == {"no": "healthy", "yes": "tumour", "on": "off"}
    assert configuration.candidates[0].learning_rate == 1e-4
    assert configuration.candidates[1].weights == "none"


def test_home_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    overrides = ["dataset.source=~/images", "candidates.0.weights=~/vgg.h5"]

    parameters = load(write(tmp_path, GOOD), overrides).parameters

    assert parameters.dataset.source == "/home/somebody/images"
    assert parameters.candidates[0].weights == "/home/somebody/vgg.h5"


def test_anchors_and_merges_are_read(tmp_path):
    text = GOOD.replace(
        "- {name: first, backbone: VGG16, epochs: 5}",
        "- &first {name: first, backbone: VGG16, epochs: 5}\n    - {<<: *first, name: third, epochs: 7}",
    )

    candidates = load(write(tmp_path, text)).parameters.candidates

    assert [(each.name, each.backbone, each.epochs) for each in candidates[:2]] == [
        ("first", "VGG16", 5),
        ("third", "VGG16", 7),
    ]


# Overrides


def test_overrides_change_values(tmp_path):
    configuration = load(
        write(tmp_path, GOOD),
        [
            "candidates.0.epochs=7",
            "candidates.1.name=other",
            "dataset.source=s3://bucket/a=b",
            "parameters.selection.folds=3",
            "promotion.floors={auroc: 0.5}",
            "promotion.floors.accuracy=0.25",
            "candidates.0.image_sizes=[64, 96]",
            "settings.orchestrator.sagemaker.instance_type=ml.m5.large",
            "steps.promote_model.settings.step_operator.sagemaker.instance_type=ml.m5.large",
            "run_name=no",
            "seed=1",
            "seed=2",
        ],
    )

    parameters = configuration.parameters
    assert (parameters.candidates[0].epochs, parameters.candidates[1].name) == (7, "other")
    assert (parameters.dataset.source, parameters.selection.folds, parameters.seed) == ("s3://bucket/a=b", 3, 2)
    assert parameters.promotion.floors == {"auroc": 0.5, "accuracy": 0.25}
    assert parameters.candidates[0].image_sizes == [64, 96]
    assert configuration.run_name == "no"
    assert configuration.settings == {"orchestrator.sagemaker": {"instance_type": "ml.m5.large"}}
    assert configuration.steps["promote_model"].settings == {
        "step_operator.sagemaker": {"instance_type": "ml.m5.large"}
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("candidates.0.epoch=5", "unknown key; the nearest is 'epochs'"),
        ("candidates.0.epochs=five", "should be a whole number, not 'five'"),
        ("candidates.0.epochs=5.0", "should be a whole number, not 5.0"),
        ("candidates.0.epochs=", "should be a whole number, not null"),
        ("candidates.2.epochs=5", "parameters.candidates has 2 entries, 0 to 1, and none is '2'"),
        ("candidates.-1.epochs=5", "parameters.candidates has 2 entries, 0 to 1, and none is '-1'"),
        ("candidates.epochs=5", "parameters.candidates has 2 entries, 0 to 1, and none is 'epochs'"),
        ("candidates.0.backbone=VGG61", "there is no backbone 'VGG61'; the nearest is 'VGG16'"),
        ("candidates.1={name: b}", "backbone: is missing"),
        ("candidates=[]", "should not be empty"),
        ("candidates.0.layers=[]", "should not be empty"),
        ("candidates.0.pooling=[]", "should not be empty"),
        ("candidates.0.learning_rate=.inf", "should be a finite number"),
        ("candidates.0.alpha=.nan", "should be a finite number"),
        ("candidates.0={name: a, backbone: MobileNet, alpha: 0.35}", "for alpha 0.25, 0.5, 0.75, 1, not for 0.35"),
        ("candidates.0.hidden_units=1000000000", "should be less than or equal to 16384"),
        ("evaluation.resamples=100000000", "should be less than or equal to 100000"),
        ("promotion.margin=.inf", "should be a finite number"),
        ("seed=2147483648", "should be less than 2147483648"),
        ('dataset.source=""', "should not be empty"),
        ('dataset.annotations={file: ""}', "file: should not be empty"),
        ("dataset.annotations.images=x", "parameters.dataset.annotations.file: is missing"),
        ("parameters.parameters.seed=3", "does not belong here; it belongs to the top level"),
        ("checks={leak: warn}", "leak: unknown key; the nearest is 'leaks'"),
        ("checks.leaks.x=warn", "should be 'drop_test', 'drop_training', 'warn' or 'fail', not a mapping"),
        ("selection.folds.x=1", "parameters.selection.folds is not a mapping, so it has no key 'x'"),
        ("dataste.source=x", "unknown key; the nearest is 'dataset'"),
        ("dataset.source=2024", "should be text, not 2024; put it in quotes"),
        ("dataset.patient_pattern='(p[0-9]+'", "is not a regular expression"),
        ("enable_cache=true", "not allowed: it overrides steps that must never be cached"),
        ("settings.orchestrator.sagemaker.instance=x", "unknown key; the nearest is 'instance_type'"),
        ("steps.train_first.enable_cache=maybe", "should be true or false"),
        ("steps.promote_model.enable_cache=true", "a promotion must not be cached"),
        ("seed", "write key.path=value, for example candidates.0.epochs=5"),
        ("=5", "write key.path=value, for example candidates.0.epochs=5"),
        ("candidates..epochs=5", "write key.path=value, for example candidates.0.epochs=5"),
        ("dataset.source=[a", "the value line 1, column 3: is not YAML"),
        pytest.param(f"dataset.source={'[' * 5000}", "the value is nested too deeply", id="deep"),
        ("dataset.class_map={0: benign}", "0: a key should be text; put it in quotes"),
        ("dataset.class_map.a=''", "should not be empty"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, override, said):
    found = complaints(tmp_path, GOOD, override)

    assert found[0].startswith(f"--set {override}: ")
    assert said in found[0]


# What ZenML gets


def test_resolved_file_says_everything_and_checks_again(tmp_path):
    configuration = load(write(tmp_path, GOOD), ["run_name=on", "seed=3"])
    resolved = yaml.safe_load(configuration.resolved())

    assert resolved["run_name"] == "on"
    assert resolved["parameters"]["candidates"][1]["weights"] == "none"
    assert resolved["parameters"]["candidates"][0]["image_sizes"] == []
    assert load(write(tmp_path, configuration.resolved())).parameters == configuration.parameters


def test_a_steps_function_stands_for_all_of_its_steps(tmp_path):
    text = GOOD + "steps:\n  train_model: {enable_cache: false, extra: {a: 1}}\n  train_second: {enable_cache: true}\n"

    steps = yaml.safe_load(load(write(tmp_path, text)).resolved())["steps"]

    assert steps == {
        "train_first": {"enable_cache": False, "extra": {"a": 1}},
        "train_second": {"enable_cache": True, "extra": {"a": 1}},
    }


def test_candidates_share_steps_as_they_share_features(tmp_path):
    third = (
        "- {name: third, backbone: VGG16, head: mlp}\n    - {name: fourth, backbone: VGG16, image_sizes: [96]}\n    "
    )
    parameters = load(write(tmp_path, GOOD.replace("- {name: second", f"{third}- {{name: second"))).parameters

    ids = step_ids(parameters.candidates)

    assert list(ids) == [
        "ingest_data",
        "check_data",
        "base_model_first",
        "extract_features_first",
        "base_model_fourth",
        "extract_features_fourth",
        "base_model_second",
        "group_images",
        "explore_data",
        "train_first",
        "train_third",
        "train_fourth",
        "train_second",
        "select_model",
        "evaluate_model",
        "promote_model",
    ]


# Finding


def test_a_configuration_is_found_by_name_or_path(tmp_path, monkeypatch):
    path = write(tmp_path, GOOD)

    assert find_configuration("demo", CONFIGS) == CONFIGS / "demo.yaml"
    assert find_configuration("demo.yaml", CONFIGS) == CONFIGS / "demo.yaml"
    assert find_configuration(str(path), CONFIGS) == path
    monkeypatch.chdir(tmp_path)
    assert find_configuration("x.yaml", CONFIGS) == Path("x.yaml")
    with pytest.raises(InputError, match=r"configs/ has .*demo.*did you mean 'chest_ct'"):
        find_configuration("chest-ct", CONFIGS)
    with pytest.raises(InputError, match="there is no such file or name"):
        find_configuration("x" * 5000, CONFIGS)
