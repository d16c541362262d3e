"""What is shipped for Kubernetes: valid by its schemas, and right where a schema has no opinion."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as schemas

from watchkeeper import config
from watchkeeper.http import probes

BASE = Path(__file__).parents[1] / "deploy" / "kubernetes"
FILES = sorted(path for path in BASE.glob("*.yaml"))
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text("utf-8"))
OBJECTS = {
    one["kind"]: one
    for path in FILES
    if path.name in KUSTOMIZATION["resources"]
    for one in yaml.safe_load_all(path.read_text("utf-8"))
}
POD = OBJECTS["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = {"app.kubernetes.io/name": "watchkeeper"}
VERSIONS = schemas.all_versions()[-4:]
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
DRAIN = 10  # seconds, docs/operations.md


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_is_valid_in_the_supported_versions(kind):
    for version in VERSIONS:
        kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: one["spec"]["template"]["spec"].update(terminationGracePeriod=30),
        lambda one: one["spec"].update(replicas="one"),
        lambda one: one["spec"]["template"]["spec"]["containers"][0].pop("name"),
    ],
)
def test_the_schemas_are_those_that_find_a_mistake(damage):
    spoilt = yaml.safe_load(yaml.safe_dump(OBJECTS["StatefulSet"]))
    damage(spoilt)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSIONS[-1], strict=True)


def test_the_base_names_every_file_and_nothing_else():
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    named = {*KUSTOMIZATION["resources"], *generated["files"], "kustomization.yaml"}
    assert named == {path.name for path in FILES}
    assert generated["name"] == volume("config")["configMap"]["name"]


def test_one_pod_owns_the_volume_and_all_objects_mean_that_pod():
    spec = OBJECTS["StatefulSet"]["spec"]
    assert spec["replicas"] == 1
    assert spec["template"]["metadata"]["labels"] == LABELS
    assert spec["selector"]["matchLabels"] == LABELS
    assert spec["serviceName"] == OBJECTS["Service"]["metadata"]["name"]
    assert OBJECTS["Service"]["spec"]["selector"] == LABELS
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == LABELS
    assert all(one["metadata"]["labels"] == LABELS for one in OBJECTS.values())
    (claim,) = spec["volumeClaimTemplates"]
    assert mounts()[claim["metadata"]["name"]] == "/var/lib/watchkeeper"


def test_the_image_has_a_version_or_a_digest_and_is_never_the_latest():
    name, _, version = CONTAINER["image"].rpartition(":")
    assert name
    assert "/" not in version
    assert version != "latest"


def test_it_runs_without_any_right_it_does_not_need():
    assert POD["securityContext"]["runAsUser"] == POD["securityContext"]["runAsGroup"] == 65532
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert not [one for one in POD["volumes"] if "hostPath" in one]
    limits = CONTAINER["resources"]["limits"]
    assert limits.keys() == CONTAINER["resources"]["requests"].keys() == {
        "cpu", "memory", "ephemeral-storage"
    }  # fmt: skip


def test_secrets_are_referred_to_and_not_written():
    assert "Secret" not in OBJECTS
    assert volume("tls")["secret"]["secretName"] == "watchkeeper-tls"
    assert "env" not in CONTAINER


def test_it_has_more_time_to_end_than_it_takes_to_drain():
    assert POD["terminationGracePeriodSeconds"] >= 2 * DRAIN


@pytest.mark.parametrize("probe", PROBES)
def test_probes_ask_routes_of_ours_under_a_name_of_ours(probe):
    asked = CONTAINER[probe]["httpGet"]
    assert asked["path"] == ("/-/ready" if probe == "readinessProbe" else "/-/healthy")
    assert asked["scheme"] == "HTTPS"
    assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    (port,) = (one for one in CONTAINER["ports"] if one["name"] == asked["port"])
    assert port["containerPort"] == listened().listen.port
    assert ("GET", asked["path"]) in {(one.method, one.path) for one in probes.endpoints(None)}


def test_the_service_and_the_network_policy_lead_to_the_port():
    (port,) = OBJECTS["Service"]["spec"]["ports"]
    assert port["targetPort"] == "https"
    assert port["port"] == listened().listen.port
    policy = OBJECTS["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [one["port"] for rule in policy["ingress"] for one in rule["ports"]] == ["https"]
    assert {one["port"] for rule in policy["egress"] for one in rule["ports"]} == {53}


def test_its_configuration_is_one_that_listens_with_tls_where_the_files_are_mounted():
    loaded = listened()
    assert loaded.listen.host == "0.0.0.0"
    below = mounts()["tls"]
    assert all(one.startswith(f"{below}/") for one in tls_files())
    assert mounts()["config"] in CONTAINER["args"]
    assert loaded.data == Path(CONTAINER["args"][-1])


def listened():
    return config.load([BASE / "watchkeeper.yaml"], {})


def volume(name):
    (found,) = (one for one in POD["volumes"] if one["name"] == name)
    return found


def mounts():
    return {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}


def tls_files():
    return yaml.safe_load((BASE / "watchkeeper.yaml").read_text("utf-8"))["tls"].values()
