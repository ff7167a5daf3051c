"""A stand-in for a Kubernetes API server that the real `kubectl` speaks to: objects, and a Deployment's life.

It keeps what is applied, starts "pods" at once, and lets images that it was told of fail as a cluster does.
"""

import copy
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

REVISION = "deployment.kubernetes.io/revision"
# Group and version, and what it holds: plural, kind, short names.
RESOURCES = {
    "v1": [("pods", "Pod", []), ("services", "Service", []), ("serviceaccounts", "ServiceAccount", [])],
    "apps/v1": [("deployments", "Deployment", ["deploy"]), ("replicasets", "ReplicaSet", ["rs"])],
    "autoscaling/v2": [("horizontalpodautoscalers", "HorizontalPodAutoscaler", ["hpa"])],
    "policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget", ["pdb"])],
    "networking.k8s.io/v1": [("networkpolicies", "NetworkPolicy", []), ("ingresses", "Ingress", [])],
    "authorization.k8s.io/v1": [("selfsubjectaccessreviews", "SelfSubjectAccessReview", [])],
}
KINDS = {plural: kind for held in RESOURCES.values() for plural, kind, _ in held} | {"namespaces": "Namespace"}
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


class Cluster:
    """What is in the cluster, what was asked of it, and what it does not let pass."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}  # plural, namespace, name
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.broken: dict[str, str] = {}  # image, and why its containers do not start
        self.refused: dict[str, str] = {}  # plural of what the server refuses, and what it says
        self.forbidden = False
        self.namespaces = {"default", "imaging"}
        self.lock = threading.RLock()
        self.counter = 0

    def get(self, plural: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        return self.objects.get((plural, namespace, name))

    def names(self, namespace: str = "default") -> set[str]:
        return {plural for plural, where, _ in self.objects if where == namespace}

    def applied(self, plural: str) -> list[tuple[dict[str, str], Any]]:
        """Query and content of every server-side apply of a kind."""
        return [(query, sent) for verb, path, query, sent in self.requests if verb == "PATCH" and f"/{plural}/" in path]

    def put(self, plural: str, namespace: str, sent: dict[str, Any], *, keep: bool = True) -> dict[str, Any]:
        """What the object is after it was applied; with `keep` it is stored."""
        name = sent["metadata"]["name"]
        old = self.objects.get((plural, namespace, name))
        new = copy.deepcopy(sent)
        self.counter += 1
        metadata = new["metadata"]
        metadata |= {"namespace": namespace, "uid": f"uid-{plural}-{name}", "resourceVersion": str(self.counter)}
        metadata.setdefault("annotations", {})
        same = old is not None and old["spec" if "spec" in old else "metadata"] == new.get("spec", new["metadata"])
        metadata["generation"] = (old["metadata"]["generation"] + (0 if same else 1)) if old else 1
        if keep:
            self.objects[plural, namespace, name] = new
            if plural == "deployments":
                self._run(new, old)
        return new

    def _run(self, new: dict[str, Any], old: dict[str, Any] | None) -> None:
        """What the cluster's own controllers make of a Deployment: ReplicaSets by template, pods, and its status."""
        metadata, template = new["metadata"], new["spec"]["template"]
        namespace, name = metadata["namespace"], metadata["name"]
        new["spec"].setdefault("replicas", old["spec"]["replicas"] if old else 1)
        sets = [
            each
            for (plural, where, _), each in self.objects.items()
            if plural == "replicasets" and where == namespace and each["metadata"]["ownerReferences"][0]["name"] == name
        ]
        revisions = [int(each["metadata"]["annotations"][REVISION]) for each in sets]
        fitting = next((each for each in sets if _bare(each["spec"]["template"]) == template), None)
        if fitting is None:
            self.counter += 1
            fitting = self._replica_set(new, self.counter)
            self.objects["replicasets", namespace, fitting["metadata"]["name"]] = fitting
            fitting["metadata"]["annotations"][REVISION] = str(max(revisions, default=0) + 1)
        elif int(fitting["metadata"]["annotations"][REVISION]) < max(revisions):
            fitting["metadata"]["annotations"][REVISION] = str(max(revisions) + 1)
        own = {key: value for key, value in metadata["annotations"].items() if key != REVISION}
        fitting["metadata"]["annotations"] |= own  # from where `rollout undo` takes them back
        metadata["annotations"][REVISION] = fitting["metadata"]["annotations"][REVISION]
        image = template["spec"]["containers"][0]["image"]
        problem = self.broken.get(image)
        wanted = new["spec"]["replicas"]
        serving = bool(old and old["status"].get("availableReplicas"))
        reason = "ProgressDeadlineExceeded" if problem else "NewReplicaSetAvailable"
        new["status"] = {
            "observedGeneration": metadata["generation"],
            "replicas": wanted + (1 if problem and serving else 0),
            "updatedReplicas": wanted,
            "readyReplicas": 0 if problem and not serving else wanted,
            "availableReplicas": 0 if problem and not serving else wanted,
            "conditions": [
                {
                    "type": "Progressing",
                    "status": "False" if problem else "True",
                    "reason": reason,
                    "message": f'ReplicaSet "{fitting["metadata"]["name"]}" has timed out progressing.',
                }
            ],
        }
        self._start_pods(new, fitting, problem)

    def _replica_set(self, deployment: dict[str, Any], number: int) -> dict[str, Any]:
        metadata = deployment["metadata"]
        template = copy.deepcopy(deployment["spec"]["template"])
        template["metadata"]["labels"]["pod-template-hash"] = str(number)
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{number}",
                "namespace": metadata["namespace"],
                "uid": f"uid-rs-{number}",
                "labels": template["metadata"]["labels"],
                "annotations": {},
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {"replicas": 1, "template": template, "selector": deployment["spec"]["selector"]},
        }

    def _start_pods(self, deployment: dict[str, Any], fitting: dict[str, Any], problem: str | None) -> None:
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        if not problem:
            for key in [key for key, pod in self.objects.items() if key[0] == "pods" and pod["of"] == name]:
                del self.objects[key]
        reason, _, message = (problem or "").partition(": ")
        waiting = {"waiting": {"reason": reason, "message": message}}
        pod = {
            "of": name,
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{fitting['metadata']['name']}-pod",
                "namespace": namespace,
                "labels": fitting["metadata"]["labels"],
            },
            "spec": fitting["spec"]["template"]["spec"],
            "status": {
                "phase": "Pending" if problem else "Running",
                "conditions": [{"type": "Ready", "status": "False" if problem else "True"}],
                "containerStatuses": [{"state": waiting if problem else {"running": {}}}],
            },
        }
        self.objects["pods", namespace, pod["metadata"]["name"]] = pod

    def remove(self, plural: str, namespace: str, name: str) -> None:
        self.objects.pop((plural, namespace, name), None)
        if plural == "deployments":
            for key in [key for key in self.objects if key[0] in ("pods", "replicasets") and key[1] == namespace]:
                if key[2].startswith(f"{name}-"):
                    del self.objects[key]


def _bare(template: dict[str, Any]) -> dict[str, Any]:
    bare = copy.deepcopy(template)
    bare["metadata"]["labels"].pop("pod-template-hash", None)
    return bare


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def do_GET(self) -> None:
        self.handled("GET")

    def do_POST(self) -> None:
        self.handled("POST")

    def do_PATCH(self) -> None:
        self.handled("PATCH")

    def do_DELETE(self) -> None:
        self.handled("DELETE")

    def handled(self, verb: str) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        readable = body and "protobuf" not in self.headers.get("Content-Type", "")
        sent = yaml.safe_load(body) if readable else None
        with self.cluster.lock:
            self.cluster.requests.append((verb, parts.path, query, sent))
            found = discovery(parts.path)
            if found is not None:
                return self.answer(200, found)
            status, content = self.of_objects(verb, parts.path, query, sent)
        if query.get("watch"):
            return self.stream(query)
        self.answer(status, content)

    def of_objects(self, verb: str, path: str, query: dict[str, str], sent: Any) -> tuple[int, Any]:
        cluster = self.cluster
        words = [word for word in path.split("/") if word]
        if words[-1] == "selfsubjectaccessreviews":
            said = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}}
            return 201, said | {"status": {"allowed": not cluster.forbidden}}
        if words[2:3] == ["namespaces"] and len(words) == 4:
            there = words[3] in cluster.namespaces
            found = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": words[3]}}
            return (200, found) if there else gone("namespaces", words[3])
        at = words.index("namespaces")
        namespace, plural, name = words[at + 1], words[at + 2], (words[at + 3] if len(words) > at + 3 else "")
        key = (plural, namespace, name)
        if verb == "GET" and not name:
            return 200, self.listed(plural, namespace, query)
        if verb == "GET":
            return (200, cluster.objects[key]) if key in cluster.objects else gone(plural, name)
        if plural in cluster.refused:
            return 403, problem(403, "Forbidden", cluster.refused[plural])
        if namespace not in cluster.namespaces:
            return gone("namespaces", namespace)
        if verb == "DELETE":
            if not name:
                for each in self.listed(plural, namespace, query)["items"]:
                    cluster.remove(plural, namespace, each["metadata"]["name"])
                return 200, {"apiVersion": "v1", "kind": "Status", "status": "Success"}
            if key not in cluster.objects:
                return gone(plural, name)
            cluster.remove(*key)
            return 200, {"apiVersion": "v1", "kind": "Status", "status": "Success"}
        if "apply-patch" not in self.headers["Content-Type"]:
            sent = patched(cluster.objects[key], sent)
        return 200, cluster.put(plural, namespace, sent, keep="dryRun" not in query)

    def listed(self, plural: str, namespace: str, query: dict[str, str]) -> dict[str, Any]:
        wanted = dict(each.split("=") for each in query.get("labelSelector", "").split(",") if each)
        field = query.get("fieldSelector", "")
        items = [
            each
            for (kind, where, name), each in self.cluster.objects.items()
            if (kind, where) == (plural, namespace)
            and wanted.items() <= each["metadata"].get("labels", {}).items()
            and field in ("", f"metadata.name={name}")
        ]
        version = next(group for group, held in RESOURCES.items() if plural in [each[0] for each in held])
        return {
            "apiVersion": version,
            "kind": f"{KINDS[plural]}List",
            "metadata": {"resourceVersion": str(self.cluster.counter)},
            "items": items,
        }

    def stream(self, query: dict[str, str]) -> None:
        """A watch in which nothing happens."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        time.sleep(min(float(query.get("timeoutSeconds", 5)), 5))
        self.close_connection = True

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def patched(old: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The object after the JSON patch that `rollout undo` makes."""
    new = copy.deepcopy(old)
    for each in patch:
        *way, last = [word.replace("~1", "/") for word in each["path"].strip("/").split("/")]
        place = new
        for word in way:
            place = place.setdefault(word, {})
        assert each["op"] in ("replace", "add")
        place[last] = each["value"]
    return new


def gone(plural: str, name: str) -> tuple[int, Any]:
    return 404, problem(404, "NotFound", f'{plural} "{name}" not found')


def problem(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": message,
    }


def discovery(path: str) -> Any:
    """What the server says of itself."""
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.4"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [each.split("/") for each in RESOURCES if "/" in each]
        versions = [(group, {"groupVersion": f"{group}/{version}", "version": version}) for group, version in groups]
        named = [{"name": group, "versions": [said], "preferredVersion": said} for group, said in versions]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
    if path.startswith("/openapi/v3"):
        return openapi(path.removeprefix("/openapi/v3").strip("/"))
    group = path.removeprefix("/apis/").removeprefix("/api/")
    if group in RESOURCES:
        held = [
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": True,
                "kind": kind,
                "verbs": VERBS,
                "shortNames": short,
            }
            for plural, kind, short in RESOURCES[group]
        ]
        held += (
            [
                {
                    "name": "namespaces",
                    "singularName": "namespace",
                    "namespaced": False,
                    "kind": "Namespace",
                    "verbs": VERBS,
                }
            ]
            if group == "v1"
            else []
        )
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": held}
    return None


def openapi(group: str) -> Any:
    """That every kind takes `dryRun` and `fieldValidation`, which kubectl asks for before it uses them."""
    address = {version: f"apis/{version}" if "/" in version else f"api/{version}" for version in RESOURCES}
    if not group:
        return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in address.values()}}
    version = next(name for name, place in address.items() if place == group)
    parameters = [{"name": name, "in": "query"} for name in ("dryRun", "fieldValidation")]
    name, _, number = version.rpartition("/")
    paths = {
        f"/{group}/namespaces/{{namespace}}/{plural}/{{name}}": {
            "patch": {
                "parameters": parameters,
                "x-kubernetes-group-version-kind": {"group": name, "version": number, "kind": kind},
            }
        }
        for plural, kind, _ in RESOURCES[version]
    }
    return {"openapi": "3.0.0", "info": {"title": "stand-in", "version": "1"}, "paths": paths}


class Server:
    """The cluster behind a port, and the settings that `kubectl` finds it by."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster()
        handler = type("OwnHandler", (Handler,), {"cluster": self.cluster})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.kubeconfig = folder / "kubeconfig"
        said = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.http.server_port}"}}],
            "users": [{"name": "me", "user": {"token": "none"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(yaml.safe_dump(said))

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
