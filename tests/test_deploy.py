"""What is in deploy/ is consistent with itself, with the command line and with the computed capacity."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from benchmarks import capacity
from t2c_search.cli import app

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
UNITS = {"Gi": 2**30, "Ti": 2**40}


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def size(quantity: str) -> int:
    """Bytes of a Kubernetes quantity."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix in (".yaml", ".yml")], ids=lambda path: path.name
)
def test_yaml_reads(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_image_has_a_version(path: Path) -> None:
    images = re.findall(r"^(?:FROM|\s*image:)\s+(\S+)\s*$", path.read_text(), re.MULTILINE)
    assert all(re.search(r":v?\d", image) for image in images)


def test_one_version_of_qdrant_and_one_of_ray() -> None:
    compose = load("docker-compose.yml")["services"]["qdrant"]["image"]
    assert compose == f"qdrant/qdrant:{load('kubernetes/qdrant-values.yaml')['image']['tag']}"
    version = job()["rayClusterSpec"]["rayVersion"]
    assert f"FROM rayproject/ray:{version}-py" in (DEPLOY / "kubernetes" / "ray.Dockerfile").read_text()


def job() -> Any:
    return load("kubernetes/index-job.yaml")["spec"]


def entrypoint() -> dict[str, Any]:
    """The parameters of the command that the job runs."""
    program, command, *arguments = shlex.split(job()["entrypoint"])
    assert (program, command) == ("t2c", "index")
    subcommand = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    parameters: dict[str, Any] = subcommand.make_context(command, arguments).params  # parses, and runs nothing
    return parameters


def test_entrypoint_parses() -> None:
    parameters = entrypoint()
    assert (parameters["engine"], parameters["ray_address"]) == ("ray", "auto")


def test_qdrant_values_hold_100_million_images() -> None:
    values = load("kubernetes/qdrant-values.yaml")
    machine, quantization = capacity.Machine(), entrypoint()["quantization"]
    needed = capacity.cluster(10**8, capacity.per_image(capacity.figures(), quantization), machine)
    assert values["replicaCount"] == needed.machines
    assert size(values["persistence"]["size"]) == machine.disk
    memory = size(values["resources"]["limits"]["memory"])
    assert needed.memory / needed.machines <= memory <= machine.memory
    assert values["config"]["storage"]["collection"]["replication_factor"] == capacity.REPLICAS
    assert values["apiKey"]["valueFrom"]["secretKeyRef"]["name"]  # never in the file itself
    assert values["config"]["telemetry_disabled"] is True


def test_job_embeds_100_million_images_within_a_day() -> None:
    [group] = job()["rayClusterSpec"]["workerGroupSpecs"]
    [container] = group["template"]["spec"]["containers"]
    resources = container["resources"]
    cores = int(resources["requests"]["cpu"]) * group["replicas"]
    measured = capacity.figures()
    [rate] = [
        rate for name, rate in measured["rates"].items() if name.startswith("MobileNetV2") and rate["unit"] == "1 core"
    ]
    needed = capacity.units_for_a_day(10**8, rate["images_per_second"])
    assert needed <= cores < 2 * needed
    assert size(resources["limits"]["memory"]) >= int(resources["requests"]["cpu"]) * measured["worker_memory"]


def test_head_embeds_nothing_and_reports_nothing() -> None:
    head = job()["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    [container] = head["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment["T2C_QDRANT_API_KEY"] is None  # from a secret


def test_capacity_page_shows_the_computed_tables() -> None:
    page = (ROOT / "docs" / "capacity.md").read_text()
    shown = page.partition("<!-- python -m benchmarks.capacity -->\n")[2].partition("<!-- end -->")[0]
    assert shown == capacity.tables(capacity.figures()) + "\n"


def test_arithmetic_of_a_small_case() -> None:
    measured = {"index_memory_per_image": 100.0, "payload_disk_per_image": 1000.0}
    one = capacity.per_image(measured, "int8", dim=256)
    assert (one.vectors, one.kept) == (256, 4 * 256 + 256)
    assert one.memory == pytest.approx(256 + 132.27 + 100, abs=0.01)
    assert one.disk == pytest.approx(1280 + 132.27 + 1000, abs=0.01)
    machine = capacity.Machine(memory=10**6, disk=10**9)
    whole = capacity.cluster(10**4, one, machine)
    assert whole.memory == pytest.approx(2 * 10**4 * one.memory)
    assert whole.machines == 14  # 9.77 MB in machines that take 0.7 MB each
    assert capacity.cluster(1, one, machine).machines == 3
    assert capacity.units_for_a_day(86_401, 1.0) == 2
