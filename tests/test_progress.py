import io
import logging
import os
import sys

import pytest
from rich.console import Console

from diascope.progress import show_progress, tell

# As ZenML 0.98 says it.
LOGGER = logging.getLogger("zenml.orchestrators.step_launcher")


@pytest.fixture(autouse=True)
def _info():
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.setLevel(logging.NOTSET)


def shown(log) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(log)
    return console.file.getvalue()


def test_steps_are_followed_through_the_logs():
    with show_progress(["a", "b", "c", "d"], live=False) as log:
        assert {step.state for step in log.steps.values()} == {"waiting"}
        LOGGER.info("Using cached version of step `%s`.", "a")
        LOGGER.info("Step `b` has started.")
        assert log.steps["b"].state == "running"
        LOGGER.info("Step `b` has finished in `1.2s`.")
        LOGGER.info("Step `c` has started.")
        LOGGER.error("Failed to run step `%s`: %s", "c", "reason")
        LOGGER.info("Step `unexpected` has started.")
    LOGGER.info("Step `d` has started.")  # after the run: not followed any more

    assert {name: step.state for name, step in log.steps.items()} == {
        "a": "cached",
        "b": "done",
        "c": "failed",
        "d": "waiting",
        "unexpected": "running",
    }
    assert "cached" in shown(log)
    assert "✗ c" in shown(log)


def test_a_running_step_tells_how_far_it_is():
    tell("nobody listens", 1, 2)
    with show_progress(["a", "b"], live=False) as log:
        LOGGER.info("Step `b` has started.")
        tell("downloading x.zip", 30, 120)
        assert "downloading x.zip 25%" in shown(log)
        tell("reading", 1200, None)
        assert "reading 1,200" in shown(log)
        LOGGER.info("Step `b` has finished in `1.2s`.")
        assert "reading" not in shown(log)


def test_what_a_run_prints_leaves_standard_output_free(capsys):
    with show_progress(["a"], live=False):
        print("noise")
    print("result")

    assert capsys.readouterr() == ("result\n", "noise\n")


def test_live_display_goes_to_stderr(capfd):
    with show_progress(["step_one"], live=True):
        LOGGER.info("Step `step_one` has started.")
        print("noise", file=sys.stdout)

    out, err = capfd.readouterr()
    assert out == ""
    assert "step_one" in err
    assert "noise" in err


def test_native_chatter_is_left_out_and_nothing_else(capfd):
    lines = [
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
        b"I0000 00:00:1795260509.792893    2890 port.cc:153] oneDNN custom operations are on.\n",
        b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n",
        b"E0000 00:00:1795260509.792893    2890 some.cc:1] An error.\n",
        b"terminate called without a line's end",
    ]
    with show_progress([], live=False):
        for line in lines:
            os.write(2, line)
    os.write(2, b"\nI0000 afterwards")

    err = capfd.readouterr().err
    assert err == b"".join([*lines[3:], b"\nI0000 afterwards"]).decode()


def test_debug_shows_native_chatter(capfd):
    with show_progress([], live=False, debug=True):
        os.write(2, b"I0000 00:00:17 oneDNN\n")

    assert capfd.readouterr().err == "I0000 00:00:17 oneDNN\n"
