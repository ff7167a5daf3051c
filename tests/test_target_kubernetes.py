"""The manifests against Kubernetes' own schemas, and the real `kubectl` against a stand-in of the API server."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import yaml
from kube_api import Server

from diascope.deployment_settings import DeploymentSettings, KubernetesSettings
from diascope.errors import InputError
from targets import find_target
from targets.kubernetes import KubernetesTarget, _state
from targets.manifests import object_name, render
from targets.target import Service, TargetError

STUB = Path(__file__).with_name("stub_service.py")
BROKEN = "registry.example/lab/demo@sha256:bad"
EVERYTHING = KubernetesSettings(
    namespace="imaging",
    cpu=0.5,
    memory="512Mi",
    image_pull_secret="hospital",
    api_key_secret="key",
    host="ct.example.org",
    ingress_class="nginx",
    tls_secret="certificate",
    open_to=["ingress-nginx", "on"],
)
KINDS = ["ServiceAccount", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"]
PLURALS = {
    *("serviceaccounts", "deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets"),
    *("networkpolicies", "replicasets", "pods"),
}
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")


def service(version: int = 1, image: str | None = None, *, name: str = "demo", model: str = "Demo") -> Service:
    image = image or f"registry.example/lab/demo@sha256:{version}"
    return Service(name=name, version=version, model=model, image=image)


def manifests(settings: DeploymentSettings, what: Service | None = None) -> dict[str, dict]:
    documents = list(yaml.safe_load_all(render(what or service(), settings)))
    return {each["kind"]: each for each in documents}


# The template


@pytest.mark.parametrize("version", ["1.27", "1.30", "1.33"])
@pytest.mark.parametrize(
    "settings",
    [
        DeploymentSettings(),
        DeploymentSettings(kubernetes=EVERYTHING, environment={"DIASCOPE_WORKERS": "1"}),
        DeploymentSettings(kubernetes=KubernetesSettings(host="a.example", replicas=1, max_replicas=1)),
    ],
)
def test_every_manifest_is_right_by_the_schemas(version, settings):
    import kubernetes_validate

    for kind, manifest in manifests(settings).items():
        assert kubernetes_validate.validate(manifest, version, strict=True), kind


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("chest_ct", "chest-ct"),
        ("no", "no"),
        ("3d.ct", "m-3d-ct"),
        ("1e3", "m-1e3"),
        ("null", "null"),
        ("a" * 63, "a" * 41 + "-7d3e74a0"),
    ],
)
def test_any_name_of_a_model_becomes_one_that_kubernetes_takes(name, called):
    import kubernetes_validate

    if called.startswith("aaa"):
        assert len(object_name(name)) == 50
        assert object_name(name) != object_name(name[:-1])
    else:
        assert object_name(name) == called
    made = manifests(DeploymentSettings(), service(name=name, model='quotes " and: é'))
    for manifest in made.values():
        kubernetes_validate.validate(manifest, "1.30", strict=True)
        assert manifest["metadata"]["name"] == object_name(name)
        assert manifest["metadata"]["annotations"]["diascope/model"] == 'quotes " and: é'


def test_pods_run_as_narrowly_as_they_can():
    pod = manifests(DeploymentSettings())["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1034,
        "runAsGroup": 1034,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    assert container["resources"] == {key: {"cpu": 1.0, "memory": "1Gi"} for key in ("requests", "limits")}
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}


def test_what_goes_together_finds_each_other():
    made = manifests(DeploymentSettings(kubernetes=EVERYTHING))
    assert list(made) == [*KINDS, "Ingress"]
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == selectors[0] and selector.items() <= labels.items() for selector in selectors)
    assert "app.kubernetes.io/version" not in selectors[0]  # it may never change
    assert made["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == made["Deployment"]["metadata"]["name"]
    assert "replicas" not in made["Deployment"]["spec"]  # they would take back what the autoscaler has done
    assert {each["metadata"]["namespace"] for each in made.values()} == {"imaging"}


def test_settings_come_where_they_belong():
    made = manifests(DeploymentSettings(kubernetes=EVERYTHING, environment={"DIASCOPE_MAX_FILES": 'a: "b"'}))
    pod = made["Deployment"]["spec"]["template"]["spec"]
    environment = {each["name"]: each for each in pod["containers"][0]["env"]}
    assert environment["DIASCOPE_MAX_FILES"]["value"] == 'a: "b"'
    assert environment["DIASCOPE_API_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "key", "key": "api-key"}
    assert pod["imagePullSecrets"] == [{"name": "hospital"}]
    assert pod["containers"][0]["image"] == "registry.example/lab/demo@sha256:1"
    policy = made["NetworkPolicy"]["spec"]
    assert policy["egress"] == []
    assert policy["ingress"][0]["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "on"}}},
    ]
    ingress = made["Ingress"]["spec"]
    assert (ingress["ingressClassName"], ingress["rules"][0]["host"]) == ("nginx", "ct.example.org")
    assert ingress["tls"] == [{"hosts": ["ct.example.org"], "secretName": "certificate"}]


@pytest.mark.parametrize("name", ["DIASCOPE_API_KEY", "PORT"])
def test_secrets_and_ports_are_not_for_the_environment(name):
    with pytest.raises(ValueError, match=f"{name} is not for here"):
        DeploymentSettings(environment={name: "x"})


# Without a cluster


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "DIASCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("path", [pytest.param("there", marks=needs_kubectl), "missing"])
def test_without_a_cluster_the_manifests_are_written_and_nothing_serves(folder, monkeypatch, path):
    if path == "missing":
        monkeypatch.setenv("PATH", str(folder))
    target = find_target("kubernetes", DeploymentSettings())
    target.check("demo")
    deployed = target.deploy(service(2))
    assert (deployed.url, deployed.previous) == ("", None)
    assert deployed.resources == {
        "manifests": "kubernetes/demo.yaml",
        "next": "kubectl apply --server-side -f kubernetes/demo.yaml",
    }
    written = list(yaml.safe_load_all((folder / "kubernetes" / "demo.yaml").read_text()))
    assert [each["kind"] for each in written] == KINDS
    assert [path.name for path in (folder / "kubernetes").iterdir()] == ["demo.yaml"]
    target.roll_back(deployed)
    for ask in (target.status, target.delete):
        with pytest.raises(InputError, match="No cluster is configured here"):
            ask("demo")


def test_a_folder_that_cannot_be_written_is_said(folder):
    (folder / "kubernetes").touch()
    with pytest.raises(InputError, match=r"kubernetes/demo\.yaml' cannot be written .* deployment\.kubernetes\.folder"):
        find_target("kubernetes", DeploymentSettings()).deploy(service())


# With one


@pytest.fixture
def server(folder, monkeypatch) -> Iterator[Server]:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    with Server(folder) as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig))
        running.cluster.broken[BROKEN] = "ImagePullBackOff: Back-off pulling image: not found"
        yield running


@pytest.fixture
def cluster(server):
    return server.cluster


@pytest.fixture
def target(server) -> KubernetesTarget:
    return KubernetesTarget(DeploymentSettings(kubernetes=KubernetesSettings(timeout=10)))


def image(cluster) -> str:
    return cluster.get("deployments", "demo")["spec"]["template"]["spec"]["containers"][0]["image"]


def test_it_is_applied_whole_tried_first_and_removed_whole(target, cluster):
    target.check("demo")
    assert target.status("demo").state == "absent"
    deployed = target.deploy(service())
    assert (deployed.url, deployed.previous) == ("http://demo.default.svc", None)
    assert deployed.resources["deployment"] == "default/demo"
    assert cluster.names() == PLURALS
    tried, applied = cluster.applied("deployments")
    said = {"fieldManager": "diascope", "force": "true", "fieldValidation": "Strict"}
    assert tried[0] == said | {"dryRun": "All"}
    assert applied[0] == said
    written = manifests(DeploymentSettings(kubernetes=KubernetesSettings(timeout=10)))["Deployment"]
    assert applied[1]["spec"] == written["spec"]
    status = target.status("demo")
    assert (status.state, status.version, status.url) == ("serving", 1, "http://demo.default.svc")
    removed = target.delete("demo")
    assert len(removed) == 6
    assert "deployment.apps/demo" in removed
    assert cluster.names() == set()
    assert target.delete("demo") == []


def test_a_second_run_changes_nothing_and_another_version_updates(target, cluster):
    first = target.deploy(service(1))
    again = target.deploy(service(1))
    assert (again.previous, again.resources["revision"]) == (1, first.resources["revision"])
    second = target.deploy(service(2))
    assert (second.previous, target.status("demo").version) == (1, 2)
    assert image(cluster).endswith(":2")


def test_one_that_does_not_start_is_undone_and_its_reason_told(target, cluster):
    target.deploy(service(1))
    with pytest.raises(TargetError, match=r"exceeded its progress deadline.* ImagePullBackOff: .*not found"):
        target.deploy(service(2, BROKEN))
    assert image(cluster).endswith(":1")
    assert (target.status("demo").state, target.status("demo").version) == ("serving", 1)


def test_a_first_one_that_does_not_start_leaves_nothing(target, cluster):
    with pytest.raises(TargetError, match="ImagePullBackOff"):
        target.deploy(service(1, BROKEN))
    assert cluster.names() == set()


def test_an_interruption_is_undone(target, cluster, monkeypatch):
    target.deploy(service(1))
    waits = count()
    wait = target._wait

    def interrupted(name: str) -> None:
        if next(waits) == 0:
            raise KeyboardInterrupt
        wait(name)

    monkeypatch.setattr(target, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target.deploy(service(2))
    assert image(cluster).endswith(":1")


def test_what_the_server_refuses_in_part_is_not_applied_at_all(target, cluster):
    target.deploy(service(1))
    cluster.refused["networkpolicies"] = "networkpolicies is forbidden: exceeded quota"
    with pytest.raises(InputError, match="exceeded quota"):
        target.deploy(service(2))
    assert image(cluster).endswith(":1")
    assert len(cluster.applied("deployments")) == 3  # the last one was a trial


def test_roll_back_goes_to_the_revision_before_or_leaves_nothing(target, cluster):
    first = target.deploy(service(1))
    target.roll_back(target.deploy(service(2)))
    assert (image(cluster)[-2:], target.status("demo").version) == (":1", 1)
    target.roll_back(target.deploy(service(1)))  # which changed nothing
    assert image(cluster).endswith(":1")
    target.roll_back(first)
    assert cluster.names() == set()


def test_going_back_twice_by_deployments_finds_the_right_revision(target, cluster):
    """Version 1 once more has a newer revision than version 2, though its pods' template is older."""
    for version in (1, 2, 1):
        last = target.deploy(service(version))
    assert (last.resources["revision"], last.resources["revision before"]) == ("3", "2")
    target.roll_back(last)
    assert image(cluster).endswith(":2")


def test_the_namespace_of_the_settings_is_used(server, cluster):
    target = KubernetesTarget(DeploymentSettings(kubernetes=EVERYTHING))
    target.check("demo")
    deployed = target.deploy(service())
    assert deployed.url == "https://ct.example.org"
    assert cluster.names() == set()
    assert cluster.names("imaging") == PLURALS | {"ingresses"}
    target.delete("demo")
    assert cluster.names("imaging") == set()


def test_a_namespace_that_is_not_there_is_refused_before_anything_is_built(server):
    target = KubernetesTarget(DeploymentSettings(kubernetes=KubernetesSettings(namespace="nowhere")))
    with pytest.raises(InputError, match="no namespace 'nowhere': make it with `kubectl create namespace nowhere`"):
        target.check("demo")


def test_who_may_not_is_told_so_before_anything_is_built(target, cluster):
    cluster.forbidden = True
    with pytest.raises(InputError, match=r"does not allow you to patch deployments\.apps"):
        target.check("demo")


def test_a_cluster_that_does_not_answer_is_one_sentence(server, target):
    server.__exit__()
    for ask in (target.check, target.status, target.delete):
        with pytest.raises(InputError, match="connect"):
            ask("demo")


def test_a_context_that_is_not_there_is_one_sentence(server):
    target = KubernetesTarget(DeploymentSettings(kubernetes=KubernetesSettings(context="other")))
    with pytest.raises(InputError, match=r"context was not found for specified context: other"):
        target.check("demo")


def test_what_somebody_else_or_another_model_has_there_is_left_alone(target, cluster):
    target.deploy(service(1, name="chest-ct", model="chest-ct"))
    with pytest.raises(InputError, match=r"'chest-ct' of the model 'chest-ct': choose another namespace"):
        target.deploy(service(1, name="chest_ct", model="chest_ct"))
    for ask in (target.check, target.status, target.delete):
        with pytest.raises(InputError, match="of the model 'chest-ct'"):
            ask("chest_ct")
    cluster.get("deployments", "chest-ct")["metadata"]["labels"].clear()
    for ask in (target.check, target.status, target.delete):
        with pytest.raises(InputError, match="made by somebody else"):
            ask("chest-ct")
    assert cluster.names() == PLURALS


FORWARDER = """#!{python}
import os, socket, subprocess, sys
arguments = sys.argv[1:]
if arguments[:2] != ["port-forward", "--address=127.0.0.1"]:
    os.execv({kubectl!r}, [{kubectl!r}, *arguments])
with open("forwarded", "a") as told:
    print(*arguments[2:], file=told)
if os.path.exists("refuse"):
    sys.exit("error: pods is forbidden: cannot create resource pods/portforward")
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
print(f"Forwarding from 127.0.0.1:{{port}} -> 3000", flush=True)
os.environ |= {{"PORT": str(port), "STUB_VERSION": "2"}}
os.execv(sys.executable, [sys.executable, {stub!r}])
"""


@pytest.fixture
def forwarder(folder, server, monkeypatch) -> Path:
    """A `kubectl` whose port forwarding leads to a small service, since the stand-in of the cluster has no pods."""
    program = folder / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(FORWARDER.format(python=sys.executable, kubectl=shutil.which("kubectl"), stub=str(STUB)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return folder / "forwarded"


def test_a_pod_of_the_new_version_is_asked_through_one_way_in(target, cluster, forwarder):
    target.deploy(service(1))
    target.deploy(service(2))
    pod = next(name for plural, _, name in cluster.objects if plural == "pods")
    try:
        assert [target.ask("demo", b"\xff")["label"], target.ask("demo", b"\x01")["label"]] == ["b", "a"]
        assert forwarder.read_text() == f"pod/{pod} :3000\n"
        process = target._forwarded["demo"].process
    finally:
        target.delete("demo")
    assert process.poll() is not None


def test_forwarding_that_is_refused_is_said(target, forwarder, folder):
    target.deploy(service(1))
    (folder / "refuse").touch()
    with pytest.raises(TargetError, match=r"port-forward` failed: pods is forbidden: cannot create resource"):
        target.ask("demo", b"x")


def test_asking_what_is_not_there_is_said(target):
    with pytest.raises(TargetError, match="There is no deployment 'demo'"):
        target.ask("demo", b"x")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "creating"),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, "serving"),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, "updating"),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}, "updating"),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}, "updating"),
        ({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}, "failed"),
    ],
)
def test_how_a_deployment_is_doing_is_read_as_kubectl_does(status, state):
    found = {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}
    assert _state(found)[0] == state
    assert _state(found | {"metadata": {"deletionTimestamp": "now"}})[0] == "deleting"
