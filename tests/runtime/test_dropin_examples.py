"""Manifests and units that are shipped: valid by the published schemas, and their command lines by the command itself."""

import configparser
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
import yaml
from running import ROOT

from envs.scenario_file import load
from runtime.__main__ import parser, version
from runtime.actuators.kind_names import kind_named
from runtime.actuators.ray_serve import RayServeWorkload
from runtime.actuators.webhook import Webhook

EXAMPLES, PACKAGING = ROOT / "examples" / "dropin", ROOT / "packaging"
SCENARIO = load(ROOT / "examples" / "own_scenario.yaml")
KUBERNETES = "1.33"
OVERLAYS = [PACKAGING / "kubernetes", *(EXAMPLES / name for name in ("kubernetes", "keda", "hpa"))]
NOT_OF_KUBERNETES = ("kustomization.yaml", "serve_config.yaml", "adapter_rules.yaml", "scaled_object.yaml")
MANIFESTS = [path for folder in (PACKAGING / "kubernetes", EXAMPLES) for path in sorted(folder.rglob("*.yaml"))
             if path.name not in NOT_OF_KUBERNETES]


def rendered(folder):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: it renders the overlays")
    text = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout
    return list(yaml.safe_load_all(text))


def command_line(objects):
    """Of the autoscaler's container, as the command itself takes it."""
    (deployment,) = (o for o in objects if o["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    arguments.run.func.__globals__["choice"].check(arguments.run.args[0], arguments)
    return arguments, container


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_each_manifest_is_valid_by_the_schemas_of_kubernetes(path):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for value in yaml.safe_load_all(path.read_text()):
        if path.name == "autoscaler.yaml" and value["kind"] == "Deployment":  # kustomize adds selector and labels
            value["spec"] |= {"selector": {"matchLabels": {"a": "b"}}}
        validator.validate(value, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_each_overlay_is_valid_and_so_is_its_command_line(overlay):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    objects = rendered(overlay)
    for value in objects:
        if value["kind"] != "ScaledObject":
            validator.validate(value, KUBERNETES, strict=True)
    arguments, container = command_line(objects)
    assert load(ROOT / arguments.scenario).kinds == SCENARIO.kinds
    options = [word.partition("=")[0] for word in container["args"] if not word.startswith("--target")]
    assert len(set(options)) == len(options)
    for target in arguments.target:
        assert kind_named(target.rpartition("=")[0] or target, SCENARIO.kinds)


def test_rights_are_those_of_the_targets_and_no_more():
    objects = rendered(EXAMPLES / "kubernetes")
    arguments, _ = command_line(objects)
    (role,) = (o for o in objects if o["kind"] == "Role")
    (rule,) = role["rules"]
    assert rule["resources"] == ["deployments/scale"] and rule["verbs"] == ["get", "update"]
    assert {f"{role['metadata']['namespace']}/deployments/{name}" for name in rule["resourceNames"]} == {
        target.rpartition("=")[2] for target in arguments.target}


def test_the_trigger_of_keda_names_a_kind_and_the_port_that_is_open():
    objects = {o["kind"]: o for o in rendered(EXAMPLES / "keda")}
    (trigger,) = objects["ScaledObject"]["spec"]["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("external", "AverageValue")
    arguments, _ = command_line(objects.values())
    assert kind_named(trigger["metadata"]["kind"], SCENARIO.kinds) == kind_named(arguments.target[0], SCENARIO.kinds)
    name, _, port = trigger["metadata"]["scalerAddress"].rpartition(":")
    service = objects["Service"]
    assert name == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert int(port) in [p["port"] for p in service["spec"]["ports"]]


def test_the_unit_is_valid_and_its_command_line_is_one():
    unit = PACKAGING / "systemd" / "tidal-autoscaler.service"
    settings = configparser.RawConfigParser(strict=False)
    settings.optionxform = str
    settings.read(unit)
    command = settings["Service"]["ExecStart"].split()
    said = unit.read_text().partition("TIDAL_ARGUMENTS=")[2].partition("\n# `")[0].replace("#", "").replace("\\", "").split()
    assert parser().parse_args([*command[1:-1], *said]).actuator == "cluster"
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    told = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True).stderr
    assert [line for line in told.splitlines() if unit.name in line and "is not executable" not in line] == []


def test_the_image_holds_all_that_its_command_needs(tmp_path):
    """Nothing is built: what would be copied is put into an empty folder, and the command is run there."""
    lines = [line.split() for line in (PACKAGING / "Containerfile").read_text().splitlines()]
    for _, *sources, target in (line for line in lines if line[:1] == ["COPY"]):
        for source in sources:
            path, there = ROOT / source, tmp_path / target / (source if target == "./" else "")
            if path.is_dir():
                shutil.copytree(path, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, there)
    (entry,) = (line for line in lines if line[:1] == ["ENTRYPOINT"])
    assert entry[1] == '["tidal"]'
    done = subprocess.run([sys.executable, "-m", "runtime", "scenario", "check", "examples/own_scenario.yaml"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_citation_has_what_its_format_asks_for_and_is_of_this_version():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told.keys() >= {"cff-version", "message", "title", "authors"} and told["authors"]  # required by CFF 1.2.0
    assert (str(told["cff-version"]), str(told["version"])) == ("1.2.0", version())


def test_the_application_of_ray_serve_leaves_its_replicas_to_others():
    (app,) = yaml.safe_load((EXAMPLES / "ray-serve" / "serve_config.yaml").read_text())["applications"]
    assert app["external_scaler_enabled"] is True
    assert all("autoscaling_config" not in deployment for deployment in app["deployments"])
    workload = RayServeWorkload("http://127.0.0.1:9", f"{app['name']}/{app['deployments'][0]['name']}")
    assert workload.place == "app/model"


def test_the_receiver_takes_what_the_webhook_posts():
    process = subprocess.Popen([sys.executable, EXAMPLES / "webhook" / "receiver.py", "0"], stdout=subprocess.PIPE, text=True)
    with ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.terminate)
        stack.enter_context(process.stdout)
        webhook = Webhook(SCENARIO.initial_deployment, "", process.stdout.readline().strip(), timeout_s=30.0)
        stack.callback(webhook.close)
        wanted = SCENARIO.deployment((2, 0))
        for _ in range(2):
            assert webhook.apply(wanted, "1", "j/1").status == "applied"
        assert process.stdout.readline() == "2 x small: \n"
