"""What is shipped for running the sidecar elsewhere holds to the code: image, pods, dashboard and alerts."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mirror import Mirror
from postgres import Cluster
from prometheus_client.parser import text_string_to_metric_families
from running import Serving
from test_metrics import SNAPSHOT
from waiting import until

from deploy.worker import PostgresWorld
from scanner.board import Board
from scanner.config import Config, all_keys, load_config
from scanner.pipeline import Pipeline
from scanner.rows import Table
from scanner.settings import DatabaseConfig
from web import demoworld
from web.app import ROUTES
from web.commands import parser
from web.demoworker import Worker
from web.metrics import Metrics

yaml = pytest.importorskip("yaml")

HERE = Path(__file__).parents[1]
DEPLOY = HERE / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (HERE / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
PATHS = {route.pattern for route in ROUTES}
PORT = Config().web.port
USER = 10001


def manifests() -> list[Any]:
    found: list[Any] = []
    for path in sorted(KUBERNETES.glob("*.yaml")):
        found += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return found


def manifest(kind: str) -> Any:
    (found,) = (one for one in manifests() if one["kind"] == kind)
    return found


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction of the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.M)


def last_stage(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", re.sub(r"\\\n\s*", " ", DOCKERFILE.rpartition("\nFROM ")[2]), re.M)


# --- every setting is one that there is -------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [HERE / "Dockerfile", HERE / "compose.yaml", *KUBERNETES.glob("*.yaml"), HERE / "README.md"],
    ids=lambda path: path.name,
)
def test_every_variable_names_a_key(path: Path) -> None:
    known = {"SIDECAR_" + key.upper().replace(".", "__") for key in all_keys()} | {"SIDECAR_CONFIG"}
    named = set(re.findall(r"\bSIDECAR_[A-Z][A-Z_]*[A-Z]\b(?!_*<)", path.read_text(encoding="utf-8")))
    assert named <= known


def test_the_settings_of_compose_are_accepted() -> None:
    load_config(environ=COMPOSE["services"]["sidecar"]["environment"], cwd="/")


def test_the_configuration_in_the_config_map_is_accepted_and_fits_the_pod(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(manifest("ConfigMap")["data"]["config.toml"], encoding="utf-8")
    secret = manifest("Secret")["stringData"]["database-url"]
    config = load_config(str(file), environ={"SIDECAR_DATABASE__URL": secret})
    mounts = {mount["mountPath"]: mount for mount in sidecar()["volumeMounts"]}
    assert mounts[config.data.root]["readOnly"] is True
    assert "readOnly" not in mounts[config.index.directory]
    assert config.web.port == sidecar()["ports"][0]["containerPort"]
    memory = {volume["name"]: volume for volume in pod()["volumes"]}[mounts[config.index.directory]["name"]]
    assert memory["emptyDir"]["medium"] == "Memory"


# --- the image --------------------------------------------------------------------------------------


def test_the_image_is_built_from_what_the_context_holds() -> None:
    ignored = (HERE / ".dockerignore").read_text(encoding="utf-8").split()
    assert "*" in ignored
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert copied == kept
    assert all((HERE / name).exists() for name in copied)


def test_the_image_runs_as_a_fixed_user_and_serves_by_default() -> None:
    assert last_stage("USER") == [f"{USER}:{USER}"]
    assert f"--uid {USER}" in DOCKERFILE
    assert json.loads(last_stage("ENTRYPOINT")[0]) == ["sidecar"]
    assert parser().parse_args(json.loads(last_stage("CMD")[0])).command
    assert last_stage("EXPOSE") == [str(PORT)]
    for label in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in DOCKERFILE


def test_the_image_has_the_release_and_a_python_of_the_project() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"ARG VERSION={project['version']}" in DOCKERFILE
    (lowest,) = re.findall(r">=3\.(\d+)", project["requires-python"])
    versions = set(re.findall(r"^FROM python:3\.(\d+)-slim", DOCKERFILE, re.M))
    assert len(versions) == 1
    assert int(versions.pop()) >= int(lowest)
    assert f"image: artifact-sidecar:{project['version']}" in (KUBERNETES / "pipeline.yaml").read_text()


def test_every_part_of_the_pages_is_installed() -> None:
    tools = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert tools["packages"] == ["scanner", "web"]
    parts = [file for file in (HERE / "web").glob("*/*") if file.is_file() and file.suffix != ".pyc"]
    assert parts
    for part in parts:
        name = part.relative_to(HERE / "web").as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in tools["package-data"]["web"]), name


def health_check() -> list[str]:
    (line,) = last_stage("HEALTHCHECK")
    command = json.loads(line.partition("CMD ")[2])
    assert isinstance(command, list)
    return command


def test_the_health_check_of_the_image_tells_life_from_death(tmp_path: Path) -> None:
    """It is run as it stands, against a server and against none."""
    (tmp_path / "data").mkdir()
    (tmp_path / "index").mkdir()
    with Serving(tmp_path) as serving:
        until(lambda: serving.get("/healthz").status == 200, "it answers")
        environment = {"SIDECAR_WEB__PORT": str(serving.port)}
        command = [sys.executable, *health_check()[1:]]
        assert subprocess.run(command, env=environment, timeout=30, check=False).returncode == 0
    done = subprocess.run(command, env=environment, timeout=30, check=False, capture_output=True)
    assert done.returncode != 0


def linter(name: str, *arguments: str | Path) -> None:
    """Runs one that is installed beside this Python or anywhere; what it does not like fails the test."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    tool = shutil.which(name, path=path)
    if tool is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_likes_the_image() -> None:
    linter("hadolint", HERE / "Dockerfile")


# --- compose ----------------------------------------------------------------------------------------


def test_the_composed_sidecar_can_write_nothing_and_waits_for_nobody() -> None:
    service = COMPOSE["services"]["sidecar"]
    assert service["read_only"] is True
    assert service["volumes"] == ["data:/data:ro"]
    assert service["cap_drop"] == ["ALL"]
    assert "depends_on" not in service
    assert service["shm_size"]
    assert any(entry.startswith("/tmp") for entry in service["tmpfs"])
    assert all(port.endswith(f":{PORT}") for port in service["ports"])
    assert COMPOSE["services"]["worker"]["volumes"][0] == "data:/data"


def test_every_file_that_compose_mounts_is_there() -> None:
    volumes = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", ())]
    files = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]
    assert len(files) == 3
    assert all((HERE / file).exists() for file in files)


def test_the_worker_fills_a_postgresql_and_goes_on_when_that_was_away(
    tmp_path: Path, postgres_cluster: Cluster, postgres: str
) -> None:
    with contextlib.closing(PostgresWorld(tmp_path / "data", postgres)) as world:
        demoworld.fill(world)
        worker = Worker(world)
        postgres_cluster.kill()
        restart = threading.Thread(target=postgres_cluster.start)
        restart.start()
        for _ in range(20):
            worker.step()
        restart.join()
        demoworld.fill(world)  # as after a restart of the worker: what is there stays
        with psycopg.connect(postgres) as connection:
            rows = connection.execute(
                "SELECT frame_id, seg_mask_path FROM video_frames UNION ALL"
                " SELECT img_id, seg_mask_path FROM product_images"
            ).fetchall()
    claimed = {id for id, path in rows if path}
    assert {id for id, _ in rows} == set(world.assets)
    assert claimed <= {id for id, feature in world.done if feature == "segment"}
    assert all(Path(path).exists() for _, path in rows if path)


def role_scripts() -> dict[str, str]:
    """What makes the role that can only read: the file, and the example in the README."""
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```sql\n(.*?)^```", readme, re.M | re.S)
    return {"file": (DEPLOY / "postgres" / "sidecar-role.sql").read_text(encoding="utf-8"), "README": example}


@pytest.mark.parametrize("script", role_scripts().values(), ids=role_scripts())
def test_the_role_reads_all_that_is_used_and_can_write_nothing(
    tmp_path: Path, postgres: str, script: str
) -> None:
    with contextlib.closing(PostgresWorld(tmp_path / "data", postgres)) as world:
        demoworld.fill(world)
    database = postgres.rpartition("/")[2]
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute(script.replace("DATABASE pipeline", f"DATABASE {database}").encode())
        try:
            url = postgres.replace("postgres@", "sidecar@")
            with contextlib.closing(Pipeline(DatabaseConfig(url=url))) as pipeline:
                read = Mirror()
                read.poll(pipeline)
            assert {*read.tables[Table.VIDEO_FRAMES], *read.tables[Table.PRODUCT_IMAGES]} == set(world.assets)
            assert len(read.tables[Table.JOBS]) == 2
            with psycopg.connect(url, autocommit=True) as role:
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    role.execute("DELETE FROM jobs")
                role.execute("SET default_transaction_read_only = off")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    role.execute("DELETE FROM jobs")
        finally:
            owner.execute("DROP OWNED BY sidecar")
            owner.execute("DROP ROLE sidecar")


# --- Kubernetes -------------------------------------------------------------------------------------


def pod() -> Any:
    return manifest("Deployment")["spec"]["template"]["spec"]


def sidecar() -> Any:
    (found,) = pod()["initContainers"]
    return found


@pytest.mark.parametrize(
    "file",
    [path for path in sorted(KUBERNETES.glob("*.yaml")) if path.stem != "kustomization"],
    ids=lambda path: path.name,
)
def test_the_manifests_fit_the_schema_of_kubernetes(file: Path) -> None:
    linter("kubernetes-validate", "--strict", file)


def test_the_sidecar_is_a_native_one_and_its_probes_are_routes() -> None:
    container = sidecar()
    assert container["restartPolicy"] == "Always"
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["path"] for probe in probes.values()} <= PATHS
    assert probes["startup"]["path"] == probes["liveness"]["path"] == "/healthz"
    assert probes["readiness"]["path"] == "/readyz"
    names = {port["name"] for port in container["ports"]}
    assert {probe["port"] for probe in probes.values()} <= names
    assert manifest("Service")["spec"]["ports"][0]["targetPort"] in names
    options = parser().parse_args(container["args"])
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(options.config).parent) in mounted
    assert Path(options.config).name in manifest("ConfigMap")["data"]


def test_nobody_in_the_pod_is_root_or_writes_to_his_image() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["runAsUser"] == USER
    for container in (*pod()["initContainers"], *pod()["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_what_the_manifests_name_is_there() -> None:
    """Config maps, secrets and claims by their names; what is optional may be missing."""
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests() if "metadata" in one}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    for container in (*pod()["initContainers"], *pod()["containers"]):
        assert all(mount["name"] in volumes for mount in container["volumeMounts"])
    assert ("PersistentVolumeClaim", volumes["data"]["persistentVolumeClaim"]["claimName"]) in names
    assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in names
    (variable,) = sidecar()["env"]
    reference = variable["valueFrom"]["secretKeyRef"]
    assert ("Secret", reference["name"]) in names
    assert reference["key"] in manifest("Secret")["stringData"]
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(manifest("Kustomization")["resources"]) == files


# --- Prometheus and Grafana -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names of all samples that a scrape may have, with the names of their labels."""
    with contextlib.closing(Board.create(tmp_path_factory.mktemp("board") / "board")) as board:
        board.publish(SNAPSHOT)
        metrics = Metrics(board)
        metrics.observe("/jobs", 200, 0.1)
        text = metrics.render().decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    board = json.loads((DEPLOY / "grafana" / "artifact-sidecar.json").read_text(encoding="utf-8"))
    found += [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    found += [one["definition"] for one in board["templating"]["list"] if one["type"] == "query"]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_that_is_asked_for_is_exposed(exposed: dict[str, set[str]], expression: str) -> None:
    uses = re.findall(r"\b((?:sidecar|process)_\w+|up)\b(?:\{([^}]*(?:\{[^}]*\}[^}]*)*)\})?", expression)
    assert uses
    for name, selectors in uses:
        assert name == "up" or name in exposed, name
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors)) - {"instance", "job"}
        assert name == "up" or labels <= exposed[name], (name, labels)


def test_the_dashboard_has_no_panel_over_another_and_no_id_twice() -> None:
    panels = json.loads((DEPLOY / "grafana" / "artifact-sidecar.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert x + w <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def promtool(directory: Path, *command: str, fed: str = "") -> None:
    """Runs it; what it does not like fails the test."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [tool, *command], cwd=directory, input=fed, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [("check", "config", "prometheus.yaml"), ("test", "rules", "alerts.test.yaml")]
)
def test_prometheus_takes_the_rules_and_they_fire_as_meant(command: tuple[str, ...]) -> None:
    promtool(DEPLOY / "prometheus", *command)


def test_prometheus_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [expression for expression in expressions() if not expression.startswith("label_values(")]
    rules = [{"record": f"asked:{number}", "expr": text} for number, text in enumerate(asked)]
    text = yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]})
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    promtool(tmp_path, "check", "rules", "rules.yaml")


def test_prometheus_likes_what_it_scrapes(tmp_path: Path) -> None:
    with contextlib.closing(Board.create(tmp_path / "board")) as board:
        board.publish(SNAPSHOT)
        metrics = Metrics(board)
        metrics.observe("/jobs", 200, 0.1)
        promtool(tmp_path, "check", "metrics", fed=metrics.render().decode())


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket", "info")
        for key in re.findall(
            r"\b(?:scan|database|verify|index|web)\.[a-z_]+", rule["annotations"]["description"]
        ):
            assert key in all_keys(), key
