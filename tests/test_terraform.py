"""Does the infrastructure hold together, allow what is needed and no more, and do what its scripts say?

Nothing of AWS is asked: Terraform's own checks, and moto's server in the place of an account.
"""

import base64
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import cloud
import pytest

from stacks.aws.values import AwsValues, read_values

ROOT = Path(__file__).resolve().parent.parent
AWS = ROOT / "stacks" / "aws"
BIN = Path(sys.executable).parent
ACCOUNT = "123456789012"  # moto's
BUCKET = f"zenml-{ACCOUNT}-0badcafe"
BASE = {
    "bucket": BUCKET,
    "registry": f"{ACCOUNT}.dkr.ecr.{cloud.REGION}.amazonaws.com",
    "repository": "zenml-0badcafe",
    "unused_user": "zenml-0badcafe",
    "unused_roles": ["zenml-0badcafe", "zenml-0badcafe-sagemaker"],
}
MACHINE = f"arn:aws:iam::{ACCOUNT}:role/diascope-servers"
SERVERS = {"mlflow_uri": "https://mlflow.example", "mlflow_bucket": "runs", "machine_role": MACHINE}
# Actions that AWS lets nobody confine to a resource, or, with a condition, to a namespace or a cluster.
EVERYWHERE = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "cloudwatch:DescribeAlarms",
    "sagemaker:ListDomains",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
    "sagemaker:ListPipelines",
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:ListTaskDefinitions",
    "ecs:ListTasks",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "logs:DescribeLogGroups",
}
# The inputs and outputs of ZenML's module, at the commit that ../stacks/aws/base names.
STUB = """
variable "orchestrator" { type = string }
variable "zenml_stack_name" { type = string }
variable "s3_force_destroy" { type = bool }
variable "ecr_force_delete" { type = bool }
variable "enable_container_registry" {
  type    = bool
  default = true
}
variable "enable_step_operator" { type = bool }
variable "enable_image_builder" { type = bool }
variable "enable_deployer" { type = bool }
output "artifact_store" { value = { configuration = { path = "s3://%(bucket)s" } } }
output "container_registry" {
  value = { configuration = { uri = "%(registry)s", default_repository = "%(repository)s" } }
}
output "zenml_stack_id" { value = "1" }
"""
# What only waits: moto has no lag to wait for.
WITHOUT_WAITING = """
provider "aws" {
  s3_use_path_style = true
}
resource "aws_s3_bucket_lifecycle_configuration" "%s" {
  count = 0
}
"""

# Terraform


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Terraform's settings: providers from a folder, nothing from the network; skips where there are none."""
    shutil.which("terraform") or pytest.skip("there is no terraform")
    said = os.environ.get("TF_CLI_CONFIG_FILE", "")
    plugins = os.environ.get("DIASCOPE_TERRAFORM_PLUGINS", "")
    if not plugins and Path(said).is_file():
        return Path(said)
    if not (Path(plugins) / "registry.terraform.io" / "hashicorp" / "aws").is_dir():
        pytest.skip("DIASCOPE_TERRAFORM_PLUGINS names no folder with the provider hashicorp/aws")
    path = tmp_path_factory.mktemp("terraform") / "terraformrc"
    path.write_text(f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(plugins)}\n  }}\n}}\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that Terraform's own files do not come to lie between ours."""
    place = tmp_path_factory.mktemp("project")
    shutil.copytree(
        AWS, place / "stacks" / "aws", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars")
    )
    (place / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "aws.txt", place / "requirements")
    return place / "stacks" / "aws"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cloud.moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


Terraform = Callable[..., str]


@pytest.fixture(scope="module")
def terraform(settings: Path, folder: Path, endpoint: str) -> Terraform:
    environment = own_environment(settings, endpoint)

    def call(part: str, *said: str, check: bool = True) -> str:
        command = ["terraform", f"-chdir={folder / part}", *said]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    for part in ("servers", "access"):
        call(part, "init", "-no-color")
    return call


def own_environment(settings: Path, endpoint: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_", "ZENML_"))}
    own = {"TF_CLI_CONFIG_FILE": str(settings), "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1", "NO_COLOR": "1"}
    return kept | own | cloud.aws_environment(endpoint)


def client(service: str, endpoint: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, region_name=cloud.REGION, endpoint_url=endpoint, **keys)


@pytest.fixture(scope="module")
def access(terraform: Terraform, folder: Path, endpoint: str) -> dict[str, Any]:
    """The roles, applied to what ZenML's module would have made; Terraform's outputs."""
    _what_the_base_makes(endpoint)
    said = {"region": cloud.REGION, "base": BASE, "servers": SERVERS, "github_repository": "someone/diascope"}
    (folder / "access" / "test.auto.tfvars.json").write_text(json.dumps(said))
    (folder / "access" / "override.tf").write_text(WITHOUT_WAITING % "artifacts")
    terraform("access", "apply", "-auto-approve", "-no-color")
    return {name: each["value"] for name, each in json.loads(terraform("access", "output", "-json")).items()}


def _what_the_base_makes(endpoint: str) -> None:
    place = {"LocationConstraint": cloud.REGION}
    client("s3", endpoint).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    client("ecr", endpoint).create_repository(repositoryName=BASE["repository"])
    iam = client("iam", endpoint)
    iam.create_user(UserName=BASE["unused_user"])
    for role in BASE["unused_roles"]:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')


def trust(endpoint: str, role: str) -> list[dict[str, Any]]:
    document = client("iam", endpoint).get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    return list(document["Statement"])


def policies(endpoint: str, role: str) -> dict[str, list[dict[str, Any]]]:
    """Statements of a role by the name of their policy."""
    iam, found = client("iam", endpoint), {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        found[name] = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = each["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        found[each["PolicyName"]] = document["Statement"]
    return found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def actions(endpoint: str, role: str) -> set[str]:
    found = policies(endpoint, role)
    return {action for statements in found.values() for each in statements for action in listed(each["Action"])}


# Form


def test_files_are_formatted(settings):
    done = subprocess.run(["terraform", f"-chdir={AWS}", "fmt", "-check", "-recursive"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", ["servers", "access"])
def test_configurations_are_valid(terraform, part):
    assert json.loads(terraform(part, "validate", "-json"))["valid"]


def test_the_base_gives_zenmls_module_what_it_takes(terraform, folder):
    """With a stand-in of the module: neither it nor ZenML's provider can be fetched everywhere."""
    text = (AWS / "base" / "main.tf").read_text(encoding="utf-8")
    text, modules = re.subn(r'source = "github\.com/zenml-io/.*\?ref=[0-9a-f]{40}"', 'source = "./stub"', text)
    text, providers = re.subn(r'    zenml = \{.*?\n    \}\n|provider "zenml" \{\}[^\n]*\n', "", text, flags=re.DOTALL)
    text, versions = re.subn(r'"~> 4\.\d+"', '"~> 5.100"', text)
    assert (modules, providers, versions) == (1, 2, 1)
    place = folder / "stubbed"
    (place / "stub").mkdir(parents=True)
    (place / "stub" / "main.tf").write_text(STUB % BASE)
    (place / "main.tf").write_text(text)
    for name in ("variables.tf", "outputs.tf"):
        shutil.copy(AWS / "base" / name, place)

    terraform("stubbed", "init", "-no-color")
    terraform("stubbed", "apply", "-auto-approve", "-var", f"region={cloud.REGION}", "-var", "codebuild=true")
    given = json.loads(terraform("stubbed", "output", "-json", "for_access"))

    assert given == BASE | {"codebuild_project": "zenml-0badcafe"}


def test_the_steps_and_the_servers_have_the_same_versions():
    """The machine installs what requirements/aws.txt pins, which the step images follow too."""
    text = (AWS / "servers" / "main.tf").read_text(encoding="utf-8")

    assert "requirements/aws.txt" in text
    pinned = (ROOT / "requirements" / "aws.txt").read_text(encoding="utf-8")
    for name in ("mlflow", "zenml", "boto3", "s3fs", "uvicorn", "aws-profile-manager", "kubernetes"):
        assert re.search(rf"^{name}==", pinned, re.MULTILINE), name


# Roles


def test_its_values_are_those_that_the_stack_takes(access, tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text(access["values"], encoding="utf-8")

    assert read_values(path, {}) == AwsValues(
        region=cloud.REGION,
        bucket=BUCKET,
        registry=BASE["registry"],
        repository=BASE["repository"],
        execution_role=f"arn:aws:iam::{ACCOUNT}:role/diascope-steps",
        connector="implicit",
        connector_role=f"arn:aws:iam::{ACCOUNT}:role/diascope-stack",
        tracking_uri="https://mlflow.example",
    )


def test_applying_again_changes_nothing(access, terraform):
    terraform("access", "plan", "-detailed-exitcode", "-no-color")


ROLES = ["diascope-stack", "diascope-steps", "diascope-service", "diascope-ecs-execution", "diascope-ci"]


@pytest.mark.parametrize("role", ROLES)
def test_roles_may_do_single_things_with_single_resources(access, endpoint, role):
    found = policies(endpoint, role)
    assert found

    for name, statements in found.items():
        assert len(json.dumps(statements, separators=(",", ":"))) < 6000, f"{name} is too long for a policy"
        for each in statements:
            assert each["Effect"] == "Allow"
            assert not any("*" in action for action in listed(each["Action"])), each
            if listed(each["Resource"]) == ["*"]:
                assert set(listed(each["Action"])) <= EVERYWHERE, each
            if "iam:PassRole" in listed(each["Action"]):
                assert re.fullmatch(rf"arn:aws:iam::{ACCOUNT}:role/diascope-[a-z-]+", each["Resource"])
                assert each["Condition"]["StringEquals"]["iam:PassedToService"].endswith(".amazonaws.com")


def test_nobody_but_the_servers_becomes_the_stacks_role(access, endpoint):
    [statement] = trust(endpoint, "diascope-stack")

    assert statement["Principal"] == {"AWS": MACHINE}


@pytest.mark.parametrize(
    ("role", "services"),
    [
        ("diascope-steps", {"sagemaker.amazonaws.com"}),
        ("diascope-service", {"sagemaker.amazonaws.com", "lambda.amazonaws.com"}),
        ("diascope-ecs-execution", {"ecs-tasks.amazonaws.com"}),
    ],
)
def test_services_take_a_role_for_this_account_alone(access, endpoint, role, services):
    [statement] = trust(endpoint, role)

    assert set(listed(statement["Principal"]["Service"])) == services
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_only_jobs_in_an_environment_of_the_repository_become_the_role_of_ci(access, endpoint):
    [statement] = trust(endpoint, "diascope-ci")
    github = "token.actions.githubusercontent.com"

    assert access["ci_role"] == f"arn:aws:iam::{ACCOUNT}:role/diascope-ci"
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{github}:aud": "sts.amazonaws.com",
            f"{github}:sub": [
                "repo:someone/diascope:environment:training",
                "repo:someone/diascope:environment:production",
            ],
        }
    }


def test_ci_itself_changes_nothing(access, endpoint):
    changing = re.compile(r":(Create|Delete|Put|Update|Start|Stop|Pass|Attach|Modify|Complete|Upload)")

    assert [action for action in actions(endpoint, "diascope-ci") if changing.search(action)] == []


# What a deployment to a target is made of, and which services it asks.
PARTS = {
    "sagemaker": (["sagemaker*.py", "autoscaling.py"], ["sagemaker", "sagemaker-runtime", "application-autoscaling"]),
    "lambda": (["lambda*.py"], ["lambda"]),
    "ecs": (["ecs*.py"], ["ecs", "elbv2", "ec2", "logs", "application-autoscaling"]),
}
PREFIXES = {"elbv2": "elasticloadbalancing", "sagemaker-runtime": "sagemaker"}
NOT_MEANT = {"sagemaker:Search", "ec2:DescribeTags"}  # re.search, and the load balancers' describe_tags
RENAMED = {"lambda:Invoke": "lambda:InvokeFunction"}
# Asked by AWS itself in the caller's name, or by operations that carry tags; and names that are put together.
IMPLIED = re.compile(
    r"iam:(GetRole|PassRole|CreateServiceLinkedRole)|cloudwatch:\w+|[\w-]+:(AddTags|TagResource|CreateTags)"
    r"|lambda:ListTags|sagemaker:UpdateEndpointWeightsAndCapacities|ec2:(Authorize|Revoke)SecurityGroup(In|E)gress"
)


def used(target: str) -> set[str]:
    """Actions that the code of a target asks for by name."""
    files, services = PARTS[target]
    code = "\n".join(path.read_text("utf-8") for each in files for path in (ROOT / "targets").glob(each))
    words = set(re.findall(r"\.([a-z]\w+)\(|\"([a-z]+(?:_[a-z0-9]+)+)\"", code))
    names = {name for pair in words for name in pair if name}
    found = set()
    for service in services:
        operations = boto3.client(service, region_name=cloud.REGION).meta.method_to_api_mapping
        found |= {f"{PREFIXES.get(service, service)}:{operations[name]}" for name in names & set(operations)}
    return {RENAMED.get(action, action) for action in found - NOT_MEANT}


@pytest.mark.parametrize("target", PARTS)
def test_a_target_is_allowed_what_its_code_asks_for_and_no_more(access, endpoint, target):
    statements = policies(endpoint, "diascope-stack")[f"diascope-deploys-to-{target}"]
    allowed = {action for each in statements for action in listed(each["Action"])}
    needed = used(target)
    assert len(needed) > 8

    assert needed - allowed == set()
    assert {action for action in allowed - needed if not IMPLIED.fullmatch(action)} == set()


def test_the_service_reads_nothing_but_its_image(access, endpoint):
    assert actions(endpoint, "diascope-service") == {
        "ecr:GetAuthorizationToken",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "ecr:BatchCheckLayerAvailability",
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "logs:DescribeLogStreams",
        "cloudwatch:PutMetricData",
        "s3:PutObject",
    }


def test_what_is_not_used_may_do_nothing(access, endpoint):
    iam = client("iam", endpoint)
    user = iam.get_user_policy(UserName=BASE["unused_user"], PolicyName="not-used")["PolicyDocument"]
    found = [user["Statement"], *(policies(endpoint, role)["not-used"] for role in BASE["unused_roles"])]

    for statements in found:
        assert [(each["Effect"], each["Action"], each["Resource"]) for each in statements] == [("Deny", "*", "*")]


# Bucket and registry


def test_the_bucket_is_closed_encrypted_and_versioned(access, endpoint):
    s3 = client("s3", endpoint)
    closed = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    encryption = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    [statement] = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]

    assert set(closed.values()) == {True}
    assert encryption[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_images_are_scanned_and_lambda_may_fetch_them(access, endpoint):
    ecr, name = client("ecr", endpoint), f"{BASE['repository']}/diascope-demo"
    [repository] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    [statement] = json.loads(ecr.get_repository_policy(repositoryName=name)["policyText"])["Statement"]

    assert repository["imageScanningConfiguration"]["scanOnPush"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Condition"]["StringLike"]["aws:sourceArn"].endswith(":function:*")
    with pytest.raises(ecr.exceptions.LifecyclePolicyNotFoundException):  # what serves may have lost its tag
        ecr.get_lifecycle_policy(repositoryName=name)


def test_what_is_not_wanted_is_not_made(terraform, access, tmp_path):
    """No target, no repository in GitHub: still valid, and none of their roles."""
    (tmp_path / "none.tfvars.json").write_text('{"targets": [], "github_repository": null, "services": []}')
    terraform(
        "access", "plan", "-refresh=false", f"-out={tmp_path / 'plan'}", f"-var-file={tmp_path / 'none.tfvars.json'}"
    )
    plan = json.loads(terraform("access", "show", "-json", str(tmp_path / "plan")))
    kept = {each["address"] for each in plan["resource_changes"] if each["change"]["actions"] != ["delete"]}

    assert "aws_iam_role.stack" in kept
    assert not [each for each in kept if re.match(r"aws_iam_role\.(service|ecs|ci)|aws_iam_policy\.target", each)]


# The servers


@pytest.fixture(scope="module")
def start(terraform: Terraform, folder: Path) -> str:
    """What the machine runs at its first start."""
    pinned = [line.partition(" ")[0] for line in (ROOT / "requirements" / "aws.txt").read_text().splitlines()]
    values = {
        "name": "diascope",
        "region": cloud.REGION,
        "bucket": "runs",
        "volume": "vol0123",
        "servers": ["mlflow", "zenml"],
        "urls": {"mlflow": "https://m.example", "zenml": "https://z.example"},
        "pinned": [each for each in pinned if "==" in each],
    }
    (folder / "servers" / "values.json").write_text(json.dumps(values))
    asked = 'base64gzip(templatefile("start.sh.tftpl", jsondecode(file("values.json"))))\n'
    command = ["terraform", f"-chdir={folder / 'servers'}", "console", "-var", f"region={cloud.REGION}"]
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, check=True, env=os.environ | {"NO_COLOR": "1"}
    )
    packed = base64.b64decode(json.loads(done.stdout))
    assert len(packed) < 16_000  # EC2 takes 16 KB
    return gzip.decompress(packed).decode()


@pytest.fixture(scope="module")
def units(start: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, str], str, list[str]]]:
    """Environment, packages and command of each server, as the script would hand them to systemd."""
    place = tmp_path_factory.mktemp("units")
    calls = re.findall(r"^(?:environment |service |\w+=\$\(secret ).*?[^\\]$", start, re.MULTILINE | re.DOTALL)
    stand_ins = f"""
    secret() {{ echo "made-$1"; }}
    environment() {{ printf '%s\\n' "${{@:2}}" >{place}/$1.environment; }}
    service() {{ printf '%s\\n' "$2" "$3" >{place}/$1.unit; }}
    """
    subprocess.run(["bash", "-euc", stand_ins + "\n".join(calls)], check=True)
    found = {}
    for path in place.glob("*.unit"):
        packages, command = path.read_text().splitlines()
        lines = path.with_suffix(".environment").read_text().splitlines()
        found[path.stem] = (dict(line.split("=", 1) for line in lines), packages, shlex.split(command))
    return found


def test_the_script_is_sound(start, tmp_path):
    subprocess.run(["bash", "-n"], input=start, text=True, check=True)
    if not (BIN / "shellcheck").exists():
        pytest.skip("there is no shellcheck in this environment")
    done = subprocess.run([BIN / "shellcheck", "-"], input=start, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("known", "put", "ends"),
    [("made before", 0, 0), ("unset", 0, 0), ("unset", 1, 1)],
    ids=["there", "made", "it cannot be kept"],
)
def test_a_secret_is_made_once_and_kept_or_no_server_starts(start, tmp_path, known, put, ends):
    """Also where the machine's role is not known at first: an empty password would be an open door."""
    [function] = re.findall(r"^secret\(\) \{.*?^\}$", start, re.MULTILINE | re.DOTALL)
    (tmp_path / "aws").write_text(f"""#!/bin/bash
echo "$*" >>{tmp_path}/asked
if [ "$2" = put-parameter ]; then exit {put}; fi
if [ "$(grep -c get-parameter {tmp_path}/asked)" -lt 3 ]; then exit 254; fi
echo "{known}"
""")
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "python3.11").symlink_to(sys.executable)
    for name in ("aws", "sleep"):
        (tmp_path / name).chmod(0o755)
    script = f'set -euo pipefail\n{function}\nmade=$(secret zenml-key)\necho "$made"'

    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )

    asked = (tmp_path / "asked").read_text()
    assert done.returncode == ends
    assert "--name /diascope/zenml-key" in asked
    if ends:
        assert done.stdout == ""
    elif known == "unset":
        assert re.fullmatch(r"[0-9a-f]{64}", done.stdout.strip())
        assert f"put-parameter --name /diascope/zenml-key --value {done.stdout.strip()} --type SecureString" in asked
    else:
        assert done.stdout.strip() == known
        assert "put-parameter" not in asked


def test_mlflow_asks_for_a_password_and_leaves_artifacts_to_s3(units, tmp_path):
    pytest.importorskip("flask_wtf", reason="MLflow's login needs Flask-WTF")
    environment, packages, command = units["mlflow"]
    assert "mlflow[auth]" in packages
    port = cloud.free_port()
    url = f"http://127.0.0.1:{port}"
    command[command.index("--workers") + 1] = "1"

    with cloud.served(_here(command, port, tmp_path), f"{url}/health", tmp_path / "log", environment):
        asked = urllib.request.Request(f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0")
        assert _status(asked) == 401
        password = environment["MLFLOW_AUTH_ADMIN_PASSWORD"]
        asked.add_header("Authorization", f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}")
        experiment = json.loads(_read(asked))["experiment"]

    assert password == "made-mlflow-password"
    assert experiment["artifact_location"] == "s3://runs/mlflow/0"


def test_zenml_knows_the_password_and_takes_the_machines_role(units, tmp_path):
    environment, packages, command = units["zenml"]
    assert packages.split()[0] == "zenml[server]"
    assert environment["ZENML_ENABLE_IMPLICIT_AUTH_METHODS"] == "true"
    assert environment["ZENML_SERVER_JWT_SECRET_KEY"] == "made-zenml-key"  # or no token outlives a restart
    port = cloud.free_port()
    url = f"http://127.0.0.1:{port}"
    environment["ZENML_CONFIG_PATH"] = str(tmp_path / "zenml")

    with cloud.served(_here(command, port, tmp_path), f"{url}/ready", tmp_path / "log", environment):
        for password, status in (("made-zenml-password", 200), ("", 401)):
            form = urllib.parse.urlencode({"username": "default", "password": password}).encode()
            assert _status(urllib.request.Request(f"{url}/api/v1/login", form)) == status
        info = json.loads(_read(urllib.request.Request(f"{url}/api/v1/info")))
        assert info["deployment_type"] == "aws"


def _here(command: list[str], port: int, place: Path) -> list[str]:
    """A command of the machine, on loopback and in a folder of ours."""
    ours = [re.sub(r"/data/\w+", str(place), each) for each in command]
    ours[ours.index("--port") + 1] = str(port)
    ours[ours.index("--host") + 1] = "127.0.0.1"
    return [str(BIN / ours[0]), *ours[1:]]


def _status(asked: urllib.request.Request) -> int:
    try:
        with cloud.DIRECT.open(asked, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _read(asked: urllib.request.Request) -> bytes:
    with cloud.DIRECT.open(asked, timeout=60) as answer:
        return bytes(answer.read())


@pytest.fixture(scope="module")
def planned(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The servers' resources as they would be made, by address."""
    path = tmp_path_factory.mktemp("plan") / "servers"
    terraform("servers", "plan", f"-out={path}", "-var", f"region={cloud.REGION}", "-var", "ami=ami-1")
    plan = json.loads(terraform("servers", "show", "-json", str(path)))
    return {each["address"]: each["change"]["after"] for each in plan["resource_changes"]}


def test_nobody_reaches_the_machine_but_the_api(planned):
    doors = [name for name in planned if name.startswith("aws_vpc_security_group_ingress_rule.")]
    addresses = [planned[name].get("cidr_ipv4") or planned[name].get("cidr_ipv6") for name in doors]

    assert sorted(doors) == [f'aws_vpc_security_group_ingress_rule.machine["{each}"]' for each in ("mlflow", "zenml")]
    assert addresses == [None, None]
    assert not any(planned[name].get("ingress") for name in planned if name.startswith("aws_security_group."))


def test_the_machine_is_as_closed_as_it_can_be(planned):
    machine = planned["aws_instance.servers[0]"]

    assert machine["metadata_options"][0]["http_tokens"] == "required"
    assert machine["metadata_options"][0]["http_put_response_hop_limit"] == 1
    assert machine["root_block_device"][0]["encrypted"]
    assert planned["aws_ebs_volume.data[0]"]["encrypted"]
    assert not any(name.startswith("aws_iam_role_policy_attachment") for name in planned)


def test_no_secret_is_in_the_state(planned):
    secrets = [each for name, each in planned.items() if name.startswith("aws_ssm_parameter.")]

    assert len(secrets) == 5
    assert all(each["type"] == "SecureString" for each in secrets)
    assert all(each.get("value") is None and each.get("value_wo") is None for each in secrets)


def test_overwritten_and_deleted_objects_stay_for_a_month(planned):
    [rule] = planned["aws_s3_bucket_lifecycle_configuration.mlflow"]["rule"]

    assert rule["noncurrent_version_expiration"][0]["noncurrent_days"] == 30
    assert not rule["expiration"]


# The script that makes and takes away


STAND_IN = """#!/usr/bin/env bash
# Remembers what it was asked, and knows what is there.
folder=${1#-chdir=} && shift
echo "$folder $*" >>"$LOG"
case "$1 ${2:-}" in
"state list") cat "$STATES/$folder" 2>/dev/null || { cat "$STATES/wrong" >&2 2>/dev/null; exit 1; } ;;
"output -json") echo "{\\"of\\": \\"$folder\\"}" ;;
"output -raw") echo "region: eu-central-1" ;;
"apply "*) echo "$folder ${TF_VAR_base:-} ${TF_VAR_servers:-}" >>"$LOG.known" ;;
esac
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The script beside a stand-in of Terraform."""
    shutil.copy(AWS / "infrastructure.sh", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "terraform").write_text(STAND_IN)
    (tmp_path / "bin" / "terraform").chmod(0o755)
    (tmp_path / "states").mkdir()
    known = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "STATES": str(tmp_path / "states"),
    }

    def call(*said: str, **variables: str) -> subprocess.CompletedProcess[str]:
        server = {"AWS_REGION": "eu-central-1", "ZENML_SERVER_URL": "https://z.example", "ZENML_API_KEY": "key"}
        environment = known | server | variables
        return subprocess.run(
            [tmp_path / "infrastructure.sh", *said], capture_output=True, text=True, check=False, env=environment
        )

    return call


def asked(place: Path) -> list[str]:
    """What changed something."""
    return [line for line in (place / "log").read_text().splitlines() if re.match(r"\w+ (apply|destroy)", line)]


def test_up_hands_on_what_is_known_and_writes_the_values(script, tmp_path):
    (tmp_path / "states" / "servers").write_text("aws_vpc.servers\n")
    (tmp_path / "states" / "base").write_text("module.zenml.aws_s3_bucket.artifact_store\n")

    done = script("up")

    assert done.returncode == 0, done.stderr
    assert asked(tmp_path) == ["base apply", "access apply"]
    assert (tmp_path / "log.known").read_text().splitlines()[-1] == 'access {"of": "base"} {"of": "servers"}'
    assert (tmp_path / "values.yaml").read_text() == "region: eu-central-1\n"


@pytest.mark.parametrize(
    ("wrong", "status"), [("Error: Backend initialization required", 2), ("No state file was found!", 0)]
)
def test_a_state_that_cannot_be_read_is_not_one_with_nothing_in_it(script, tmp_path, wrong, status):
    (tmp_path / "states" / "wrong").write_text(f"{wrong}\n")
    (tmp_path / "values.yaml").write_text("region: eu-central-1\n")

    done = script("down")

    assert done.returncode == status
    assert (wrong in done.stderr) == bool(status)
    assert (tmp_path / "values.yaml").exists() == bool(status)
    assert asked(tmp_path) == []


@pytest.mark.parametrize(
    ("said", "variables", "told"),
    [
        (["up"], {"AWS_REGION": ""}, "Name the region in AWS_REGION."),
        (["up"], {"ZENML_API_KEY": ""}, "service account's key in ZENML_API_KEY"),
        (["up"], {}, "There is no MLflow"),
        (["down", "everything"], {}, "infrastructure.sh down --purge"),
        ([], {}, "infrastructure.sh servers"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_made(script, tmp_path, said, variables, told):
    done = script(*said, **variables)

    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "log").exists() or asked(tmp_path) == []


def test_down_leaves_the_buckets_and_what_protects_them(script, tmp_path):
    for name, resources in {
        "access": ["data.aws_iam_policy_document.ci", "aws_s3_bucket_public_access_block.artifacts", "aws_iam_role.ci"],
        "base": ["module.zenml.aws_s3_bucket.artifact_store", "module.zenml.random_id.suffix", "module.zenml.aws_x.y"],
        "servers": ["aws_s3_bucket.mlflow", 'aws_ssm_parameter.secret["zenml-key"]'],
    }.items():
        (tmp_path / "states" / name).write_text("".join(f"{each}\n" for each in resources))
    (tmp_path / "values.yaml").touch()

    done = script("down")

    assert done.returncode == 0, done.stderr
    assert asked(tmp_path) == [
        "access destroy -target=aws_iam_role.ci",
        "base destroy -target=module.zenml.aws_x.y",
        'servers destroy -target=aws_ssm_parameter.secret["zenml-key"]',
    ]
    assert not (tmp_path / "values.yaml").exists()


def test_purging_takes_everything_in_one_command(script, tmp_path):
    for name in ("access", "base", "servers"):
        (tmp_path / "states" / name).write_text("something\n")

    done = script("down", "--purge")

    assert done.returncode == 0, done.stderr
    assert asked(tmp_path) == [
        "access destroy",
        "base apply -var keep_contents=false -target=module.zenml.aws_s3_bucket.artifact_store",
        "base destroy -var keep_contents=false",
        "servers apply -var keep_contents=false -target=aws_s3_bucket.mlflow",
        "servers destroy -var keep_contents=false",
    ]


def test_the_script_itself_is_sound():
    if not (BIN / "shellcheck").exists():
        pytest.skip("there is no shellcheck in this environment")
    done = subprocess.run([BIN / "shellcheck", AWS / "infrastructure.sh"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
