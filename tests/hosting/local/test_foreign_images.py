"""Images of others are hosted as on AWS, with archives that only they understand."""

from __future__ import annotations

import io
import tarfile

import pytest
from local_aws import ROLE, Aws
from tiny_models import onnx_artifact

from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.instances.service_folders import LABEL

pytestmark = pytest.mark.engine

SERVER = """
import errno, json, os, pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = pathlib.Path("/opt/ml/model")
pathlib.Path("/srv/state/started").write_text("a file outside /tmp")

def read(path):
    return path.read_text(errors="replace") if path.is_file() else None

def why_not_written(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as err:
        return errno.errorcode[err.errno]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        body = json.dumps({
            "user": os.getuid(),
            "capabilities": int(status["CapEff"], 16),
            "may_gain_privileges": status["NoNewPrivs"].strip() == "0",
            "model": {str(path.relative_to(MODEL)): read(path) for path in MODEL.rglob("*")},
            "executable": [path.name for path in MODEL.rglob("*.sh") if os.access(path, os.X_OK)],
            "why_not_written": {path: why_not_written(path) for path in ("/opt/ml/model/x", "/x")},
            "environment": sorted(os.environ),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
DOCKERFILE = """
FROM debian:bookworm-slim
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \\
 && apt-get install -y --no-install-recommends python3 \\
 && apt-get clean \\
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
COPY server.py serve /usr/local/bin/
RUN chmod 755 /usr/local/bin/serve \\
 && mkdir -p --mode {mode} /srv/state && mkdir -p /opt/ml/model && echo inside > /opt/ml/model/own
{label}
CMD echo "SageMaker replaces this command"; exit 1
"""
SERVE = "#!/bin/sh\npython3 /usr/local/bin/server.py\n"
RESTARTS_WORKER = """#!/bin/sh
# A worker makes its pipe where only the image's user may write. It has failed for the first time
# when the server answers pings, whichever of the two a busy machine runs first.
until mkfifo /home/pipe-$(date +%s); do
  [ -n "$server" ] || { python3 /usr/local/bin/server.py & server=started; }
  sleep 1
done
[ -n "$server" ] || exec python3 /usr/local/bin/server.py
exec sleep infinity
"""
REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
KINDS = {"real-time": REAL_TIME, "serverless": SERVERLESS}


def packed(*members):
    """Return an archive of (name, content, other fields of the header)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


NO_MANIFEST = packed(
    ("./", b"", {"type": tarfile.DIRTYPE, "mode": 0o700}),
    ("./weights.pkl", b"weights", {"mode": 0o600, "uid": 501}),
    ("./code/inference.py", b"code", {}),
    ("./code/start.sh", b"script", {"mode": 0o700}),
    ("./empty", b"", {"type": tarfile.DIRTYPE, "mode": 0o700}),
)


@pytest.fixture(scope="module")
def contained(engine):
    with LocalService(isolation="container") as service:
        yield service
    assert engine.list_container_ids(f"{LABEL}={service._record.name}") == ()


@pytest.fixture(scope="module")
def aws(contained):
    return Aws.at(contained.url)


@pytest.fixture(scope="module")
def image(engine, tmp_path_factory):
    """Builds an image that starts as root and writes to its root file system."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "server.py").write_text(SERVER)

    def build(name, mode="755", label="", serve=SERVE):
        (folder / "serve").write_text(serve)
        (folder / "Dockerfile").write_text(DOCKERFILE.format(mode=mode, label=label))
        engine.build_image(folder, "Dockerfile", f"stranger:{name}")
        return f"stranger:{name}"

    return build


def create(aws, image, variant, archive=None):
    """Create an endpoint, and return its name."""
    name = aws.name()
    container = {"Image": image}
    if archive is not None:
        container["ModelDataUrl"] = aws.put_archive(archive, f"{name}.tar.gz")
    aws.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    aws.config(name, **variant)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return name


def report(aws, image, variant, archive=None):
    """Return the first answer of a new endpoint, which is then deleted."""
    name = create(aws, image, variant, archive)
    aws.wait(name)
    answer = aws.invoke(name)
    aws.delete(name)
    return answer


def failure(aws, image, variant, archive=None):
    """Return why a new endpoint failed."""
    name = create(aws, image, variant, archive)
    aws.wait(name, "Failed")
    reason = aws.failure_reason(name)
    aws.delete(name)
    return reason


def test_a_real_time_container_has_its_images_user_a_writable_root_and_the_usual_capabilities(
    aws, image
):
    found = report(aws, image("closed"), REAL_TIME, NO_MANIFEST)
    assert found["user"] == 0
    assert found["capabilities"] != 0
    assert found["may_gain_privileges"]
    assert found["model"] == {
        "weights.pkl": "weights",
        "code": None,
        "code/inference.py": "code",
        "code/start.sh": "script",
        "empty": None,
    }
    assert found["executable"] == ["start.sh"]
    # The archive is read-only on AWS ("Custom Inference Code with Hosting Services").
    assert found["why_not_written"] == {"/opt/ml/model/x": "EROFS", "/x": None}
    assert not {"SAGEMAKER_BIND_TO_PORT", "DRDEPLOY_CONTAINER_ID"} & {*found["environment"]}


def test_a_serverless_container_is_unprivileged_and_writes_where_the_modes_of_files_allow_it(
    aws, image
):
    found = report(aws, image("open", mode="777"), SERVERLESS, NO_MANIFEST)
    assert found["user"] not in {0, 1000}
    assert found["capabilities"] == 0
    assert not found["may_gain_privileges"]
    assert found["model"]["weights.pkl"] == "weights"
    assert found["executable"] == ["start.sh"]
    assert found["why_not_written"] == {"/opt/ml/model/x": "EROFS", "/x": "EACCES"}


def test_a_serverless_container_that_needs_rights_fails_with_what_it_logged(aws, image):
    reason = failure(aws, image("closed"), SERVERLESS, NO_MANIFEST)
    assert "did not pass the ping health check" in reason or "ended before it passed" in reason
    assert "Permission denied: '/srv/state/started'" in reason


@pytest.mark.parametrize("provisioned", [{}, {"ProvisionedConcurrency": 1}])
def test_a_server_that_answers_pings_while_its_workers_fail_for_ever_fails_with_their_reason(
    aws, image, provisioned
):
    built = image("restarts", mode="777", serve=RESTARTS_WORKER)
    assert report(aws, built, REAL_TIME)["user"] == 0
    serverless = {"ServerlessConfig": SERVERLESS["ServerlessConfig"] | provisioned}
    reason = failure(aws, built, serverless)
    assert "answers pings, but its server fails again and again" in reason
    assert "Permission denied" in reason
    assert "/home/pipe-" in reason
    assert "chmod -R o+rwX" in reason


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_archive_the_container_keeps_the_model_in_its_image(aws, image, kind):
    found = report(aws, image("open", mode="777"), KINDS[kind])
    assert found["model"] == {"own": "inside\n"}


def test_an_empty_archive_is_an_empty_folder(aws, image):
    assert report(aws, image("closed"), REAL_TIME, packed())["model"] == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_an_archive_with_a_link_is_refused_with_its_name_and_the_remedy(aws, image, kind):
    linked = packed(("latest", b"", {"type": kind, "linkname": "weights.pkl"}))
    reason = failure(aws, image("closed"), REAL_TIME, linked)
    assert "Failed to extract model data archive" in reason
    assert "'latest' is a link to 'weights.pkl'" in reason
    assert "--dereference" in reason


def test_a_label_asks_for_the_variable_with_the_port(aws, image):
    label = 'LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"'
    found = report(aws, image("labelled", label=label), REAL_TIME)
    assert "SAGEMAKER_BIND_TO_PORT" in found["environment"]


def test_the_archive_for_an_image_of_this_project_is_still_checked(aws, lean_image):
    reason = failure(aws, lean_image, REAL_TIME, NO_MANIFEST)
    assert "neither manifest.json nor a SavedModel" in reason


def test_one_archive_may_serve_an_image_of_this_project_and_one_of_others(
    aws, image, lean_image, tmp_path
):
    onnx_artifact(tmp_path)
    archive = (tmp_path / "model.tar.gz").read_bytes()
    found = report(aws, image("closed"), REAL_TIME, archive)
    assert "manifest.json" in found["model"]


def test_a_strict_service_restricts_a_real_time_container_too(engine, image):
    options = ServiceOptions(strict_containers=True)
    with LocalService(isolation="container", options=options) as service:
        reason = failure(Aws.at(service.url), image("closed"), REAL_TIME)
    assert "Read-only file system: '/srv/state/started'" in reason


def test_nginx_that_logs_below_var_log_runs_on_an_instance_and_says_why_not_on_serverless(
    aws, engine, shared, tmp_path
):
    with tarfile.open(shared / "cases" / "foreign-inputs.tar.gz") as inputs:
        names = [one for one in inputs.getmembers() if "byo-nginx/" in one.name]
        inputs.extractall(tmp_path, names, filter="data")
    engine.build_image(tmp_path / "byo-nginx", "Dockerfile", "stranger:nginx")
    assert report(aws, "stranger:nginx", REAL_TIME, NO_MANIFEST) == {"grade": 2}
    reason = failure(aws, "stranger:nginx", SERVERLESS, NO_MANIFEST)
    assert "Permission denied" in reason
