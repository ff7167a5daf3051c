import errno
import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from test_summary import KEYS, make_outcome

import run
from commands.deployment import makes_container
from diascope.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"zenml", "tensorflow", "keras", "mlflow", "openvino", "sklearn", "scipy", "matplotlib", "pandas", "rich"}


class Pipeline:
    """Stands for the pipeline; remembers what it was told to run."""

    def __init__(self):
        self.outcome = make_outcome()
        self.error = None
        self.calls = []

    def __call__(self, configuration: str, *, cached: bool):
        self.calls.append((yaml.safe_load(configuration)["parameters"], cached))
        print("noise from a step")
        if self.error:
            raise self.error
        return self.outcome


@pytest.fixture
def pipeline(monkeypatch):
    fake = Pipeline()
    for action in ("training", "deployment", "report"):
        monkeypatch.setattr(f"commands.{action}.start_zenml", lambda debug: None)
    monkeypatch.setattr("pipelines.training_run.train", fake)
    monkeypatch.setattr("stacks.local.ensure_tracking_stack", lambda: "local")
    return fake


def command(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    environment = os.environ | {"HOME": str(folder), "ZENML_CONFIG_PATH": str(folder / "zenml")}
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def fastest(*arguments: str, folder: Path) -> tuple[float, subprocess.CompletedProcess]:
    """The least of five times, because the machine may be busy with something else."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = command(*arguments, folder=folder)
        seconds.append(time.perf_counter() - started)
    return min(seconds), done


# Start-up


def test_help_is_there_at_once(tmp_path):
    seconds, done = fastest("--help", folder=tmp_path)

    assert done.returncode == 0
    assert "--training" in done.stdout
    assert seconds < 0.5
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_configuration_is_refused_in_a_second(tmp_path):
    seconds, done = fastest("--training", "--set", "candidates.0.epoch=5", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr == "--set candidates.0.epoch=5: unknown key; the nearest is 'epochs'\n"
    assert done.stdout == ""
    assert seconds < 1
    assert list(tmp_path.iterdir()) == []  # ZenML was not even asked


@pytest.mark.parametrize("wrong", ["candidates.0.epoch=5", "dataset.source=/nowhere"])
def test_wrong_input_needs_no_heavy_import(wrong):
    script = f"import sys, run; print(run.main(['--training', '--set', {wrong!r}]), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    status, *modules = done.stdout.split()

    assert status == "2"
    assert not HEAVY & {name.partition(".")[0] for name in modules}


# Wrong input


@pytest.mark.parametrize("arguments", [[], ["--training", "--report"], ["--config", "demo"], ["--trainin"]])
def test_exactly_one_action_is_asked_for(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)

    assert stopped.value.code == 2


def test_every_mistake_has_a_line(tmp_path, capsys, pipeline):
    config = tmp_path / "x.yaml"
    config.write_text("parameters: {dataset: {source: demo}, candidates: [{name: a, backbone: VGG61}], seeds: 1}")

    assert run.main(["--training", "--config", str(config)]) == 2

    assert capsys.readouterr().err.splitlines() == [
        f"{config}: parameters.candidates.0.backbone: there is no backbone 'VGG61'; the nearest is 'VGG16'",
        f"{config}: parameters.promotion: is missing",
        f"{config}: parameters.seeds: unknown key; the nearest is 'seed'",
    ]
    assert pipeline.calls == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "demmo"], "did you mean 'demo'?"),
        (["--config", "folder", "--set", "dataset.source=/nowhere"], "there is no file or folder '/nowhere'"),
        (["--config", "folder", "--set", "dataset.source={empty}"], "there is no image in '{empty}'"),
        (["--set", "candidates.1.weights=/nowhere.h5"], "there is no file '/nowhere.h5'"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, capsys, pipeline, arguments, said):
    arguments = [each.format(empty=tmp_path) for each in arguments]

    assert run.main(["--training", *arguments]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert said.format(empty=tmp_path) in line
    assert pipeline.calls == []


# What is run


def test_the_checked_configuration_is_run(pipeline, capsys):
    assert run.main(["--training", "--set", "seed=7", "--set", "candidates.0.epochs=2", "--no-cache"]) == 0

    (parameters, cached) = pipeline.calls[0]
    assert (parameters["seed"], parameters["candidates"][0]["epochs"], cached) == (7, 2, False)
    assert parameters["evaluation"]["resamples"] == 2000  # defaults are written out
    assert run.main(["--training"]) == 0
    assert pipeline.calls[1][1] is True


def test_summary_is_printed_for_people(pipeline, capsys):
    assert run.main(["--training"]) == 0

    out, err = capsys.readouterr()
    assert "Promoted: AUROC 0.90" in out
    assert "noise from a step" not in out
    assert "noise from a step" in err


def test_json_is_the_last_line(pipeline, capsys):
    assert run.main(["--training", "--json"]) == 0

    out = capsys.readouterr().out
    assert set(json.loads(out.splitlines()[-1])) == KEYS
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("promoted", "case", "arguments", "status"),
    [
        (True, "first", ["--require-promotion"], 0),
        (False, "worse", ["--require-promotion"], 3),
        (False, "identical", ["--require-promotion"], 0),  # it is in production since an earlier run
        (False, "worse", [], 0),
    ],
)
def test_promotion_can_be_required(pipeline, capsys, promoted, case, arguments, status):
    pipeline.outcome = make_outcome(promoted=promoted, case=case)

    assert run.main(["--training", *arguments]) == status
    assert ("Not promoted" in capsys.readouterr().out) is not promoted


def test_report_is_written_for_the_configured_model(pipeline, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.report.report_production", lambda model: Path(f"/reports/{model}.html"))

    assert run.main(["--report", "--config", "chest_ct"]) == 0
    assert capsys.readouterr().out == "/reports/diascope-chest-ct.html\n"
    assert pipeline.calls == []


# Failures


def chained(cause: Exception) -> Exception:
    """As a library passes on what happened inside of it."""
    try:
        try:
            raise cause
        except type(cause) as inner:
            raise RuntimeError("step failed") from inner
    except RuntimeError as error:
        return error


def test_wrong_input_that_a_step_finds_is_told_the_same_way(pipeline, capsys):
    pipeline.error = chained(InputError("class 'normal' is missing in the test split"))

    assert run.main(["--training"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "class 'normal' is missing in the test split"


def test_a_failure_is_one_sentence(pipeline, capsys):
    pipeline.error = chained(OSError("disk is full\nand more"))

    assert run.main(["--training", "--json"]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "The run failed: RuntimeError: step failed (--debug shows where)"
    assert "Traceback" not in err


def test_a_full_disk_is_one_sentence(pipeline, capsys):
    pipeline.error = chained(OSError(errno.ENOSPC, "No space left on device"))

    assert run.main(["--training"]) == 1

    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("The disk is full: ")
    assert "TMPDIR" in said


def test_a_full_disk_is_recognised_whatever_a_library_calls_it(pipeline, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    pipeline.error = chained(RuntimeError("basic_ios::clear: iostream error"))

    assert run.main(["--training"]) == 1

    assert capsys.readouterr().err.splitlines()[-1].startswith("The disk is full: ")


def test_without_a_temporary_folder_the_error_itself_is_told(pipeline, capsys, monkeypatch):
    pipeline.error = FileNotFoundError(2, "No usable temporary directory found")
    monkeypatch.setattr("tempfile.gettempdir", lambda: (_ for _ in ()).throw(pipeline.error))

    assert run.main(["--training"]) == 1

    assert "No usable temporary directory found" in capsys.readouterr().err.splitlines()[-1]


def test_debug_shows_where(pipeline, capsys):
    pipeline.error = chained(OSError("disk is full"))

    assert run.main(["--training", "--debug"]) == 1

    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "disk is full" in err


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "RunInterruptedException", "RunStoppedException"])
def test_an_interrupt_is_one_sentence(pipeline, capsys, kind):
    import zenml.exceptions

    pipeline.error = KeyboardInterrupt() if kind == "KeyboardInterrupt" else getattr(zenml.exceptions, kind)("stopped")

    assert run.main(["--training"]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("Interrupted: ")


@pytest.mark.parametrize(
    ("options", "goes_on"),
    [(["--training"], "finished steps are kept"), (["--deployment", "--target", "bento"], "starts anew")],
)
def test_what_an_interrupt_leaves_is_told(pipeline, capsys, monkeypatch, options, goes_on):
    def interrupted(model: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.production.find_release", interrupted)
    pipeline.error = KeyboardInterrupt()

    assert run.main(options) == 130
    assert goes_on in capsys.readouterr().err.splitlines()[-1]


# Where a deployment ends


@pytest.mark.parametrize(
    ("engine", "target", "container"),
    [("27.1", None, True), (None, None, False), ("27.1", "bento", False), ("27.1", "container", True)],
)
def test_a_container_is_made_where_an_engine_answers_unless_told_otherwise(monkeypatch, engine, target, container):
    monkeypatch.setattr("diascope.docker.find_engine", lambda: engine)

    assert makes_container(target) is container
