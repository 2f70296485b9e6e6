"""Who a container can reach, and who can reach it; and that it has no more rights than it needs."""

import json
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from local_aws import ROLE, Aws, until
from required import require

from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.instances.containers import NETWORK_LABEL
from drdeploy.hosting.local.instances.service_folders import LABEL

CONTAINERS = Path(__file__).parents[3] / "containers"
REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
PROBE = """
import http.server, json, os, socket

def reach(host, port):
    try:
        with socket.create_connection((host, port), timeout=2):
            return "reached"
    except OSError as err:
        return type(err).__name__

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        gateway = ""
        with open("/proc/net/route") as routes:
            for line in routes:
                fields = line.split()
                if fields[1] == "00000000":
                    gateway = socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
        with open("/proc/self/status") as status:
            facts = dict(line.strip().split(":\\t", 1) for line in status if ":\\t" in line)
        answer = {
            "interfaces": sorted(name for _, name in socket.if_nameindex()),
            "addresses": sorted({one[4][0] for one in socket.getaddrinfo(socket.gethostname(), 0)}),
            "gateway": gateway,
            "reached": {f"{h}:{p}": reach(h or gateway, p) for h, p in order["try"]},
            "uid": os.getuid(),
            "capabilities": facts["CapEff"] + facts["CapBnd"],
            "no_new_privileges": facts["NoNewPrivs"],
            "environment": dict(os.environ),
        }
        self.answer(json.dumps(answer).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
DOCKERFILE = """
FROM drdeploy:lean
COPY probe.py /
LABEL org.drdeploy.network="{network}"
ENV {variables}
ENTRYPOINT ["python3", "/probe.py"]
"""


@pytest.fixture(scope="module")
def image(engine, lean_image, tmp_path_factory):
    """Builds images with a server that tells what it can reach."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.py").write_text(PROBE)

    def build(tag, network="", variables="COLOUR=grey"):
        text = DOCKERFILE.format(network=network, variables=variables)
        (folder / "Dockerfile").write_text(text)
        engine.build_image(folder, "Dockerfile", tag, network="none")
        return tag

    return build


@pytest.fixture(scope="module")
def contained(engine, lean_image):
    options = ServiceOptions(trial_start=False, mb_per_vcpu=512)
    with LocalService(isolation="container", options=options) as service:
        yield service
    label = f"{LABEL}={service._record.name}"
    assert engine.list_container_ids(label) == ()
    assert engine._api.networks(filters={"label": label}) == []


@pytest.fixture(scope="module")
def aws(contained):
    return Aws.at(contained.url)


@contextmanager
def listening(host):
    """A service of this machine, as anybody may run one; yields its port."""
    with socket.create_server((host, 0)) as server:
        threading.Thread(target=_accept_all, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _accept_all(server):
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


def endpoint(aws, image, *, isolated=False, **variant):
    name = aws.name()
    aws.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": image},
        EnableNetworkIsolation=isolated,
    )
    aws.config(name, **variant)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    return name


def report(aws, name, *places):
    return aws.invoke(name, json.dumps({"try": places}).encode())


def inspected(engine, service):
    (container,) = engine.list_container_ids(f"{LABEL}={service._record.name}")
    return engine._api.inspect_container(container)


HOSTILE = {
    # each once got the host's network
    "tagged like ours": ("drdeploy-evil:lean", {}),
    "with our variable": ("drdeploy-test:variable", {"variables": "DRDEPLOY_PROFILE=lean"}),
    "with our label": ("drdeploy-test:labelled", {"network": "none"}),
    "with another label": ("drdeploy-test:host", {"network": "host"}),
}


@pytest.mark.engine
@pytest.mark.parametrize("name", HOSTILE)
def test_no_tag_variable_or_label_of_an_image_gives_it_the_hosts_network(
    aws, image, engine, contained, name
):
    tag, settings = HOSTILE[name]
    with listening("127.0.0.1") as private:
        deployed = endpoint(aws, image(tag, **settings))
        found = report(aws, deployed, ("127.0.0.1", private))
        assert "reached" not in found["reached"].values()
        network = inspected(engine, contained)["HostConfig"]["NetworkMode"]
        assert network != "host"
        aws.delete(deployed)
    engine.untag_image(tag)


@pytest.mark.engine
def test_an_isolated_model_reaches_nothing_and_still_answers(aws, image, engine, contained):
    require(engine.can_enter_network_namespaces, "the right to enter a container's network (root)")
    tag = image("drdeploy-test:probe")
    with listening("0.0.0.0") as open_port, listening("127.0.0.1") as private:
        name = endpoint(aws, tag, isolated=True, **REAL_TIME)
        found = report(
            aws, name, ("127.0.0.1", private), ("", open_port), ("1.1.1.1", 53), ("192.0.2.1", 80)
        )
    assert found["interfaces"] == ["lo"]
    assert found["gateway"] == ""
    assert "reached" not in found["reached"].values()
    host = inspected(engine, contained)["HostConfig"]
    assert (host["NetworkMode"], host["PortBindings"] or {}) == ("none", {})
    aws.delete(name)


@pytest.mark.engine
def test_a_model_without_isolation_is_on_a_network_of_its_own(aws, image, engine, contained):
    tag = image("drdeploy-test:probe")
    first, second = endpoint(aws, tag), endpoint(aws, tag)
    one, other = report(aws, first), report(aws, second)
    assert one["gateway"]
    assert other["gateway"]
    assert one["gateway"] != other["gateway"]
    (address,) = other["addresses"]
    with listening("127.0.0.1") as private:
        places = ((address, 8080), ("127.0.0.1", private), ("", private))
        reached = report(aws, first, *places)["reached"]
    assert "reached" not in reached.values()
    for name in (first, second):
        aws.delete(name)
    label = f"{LABEL}={contained._record.name}"
    until(lambda: engine._api.networks(filters={"label": label}) == [])


@pytest.mark.parametrize("file", sorted(CONTAINERS.glob("*.Dockerfile")), ids=lambda f: f.stem)
def test_our_own_images_need_no_network(file):
    assert f'{NETWORK_LABEL}="none"' in file.read_text()


@pytest.mark.engine
def test_an_image_that_needs_no_network_gets_none(engine, contained, image):
    require(engine.can_enter_network_namespaces, "the right to enter a container's network (root)")
    backend = contained._fleet.backend
    pinned = backend.pin_image_and_network(
        image("drdeploy-test:labelled", network="none"), isolated=False
    )
    assert pinned.network == "none"


@pytest.mark.engine
def test_a_container_has_no_rights_that_it_does_not_need(aws, image, engine, contained):
    name = endpoint(aws, image("drdeploy-test:probe"))
    found = report(aws, name)
    assert found["uid"] != 0
    assert set(found["capabilities"].strip()) == {"0"}
    assert found["no_new_privileges"].strip() == "1"
    described = inspected(engine, contained)
    host = described["HostConfig"]
    assert host["ReadonlyRootfs"] is False  # as on AWS: what the modes of its files allow
    assert host["Privileged"] is False
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["PidsLimit"] == 1024
    assert host["Memory"] == host["MemorySwap"] == 1024 * 1024 * 1024
    assert host["NanoCpus"] > 0
    assert not host["CapAdd"]
    assert (host["PidMode"], host["IpcMode"]) != ("host", "host")
    writable = [mount["Destination"] for mount in described["Mounts"] if mount["RW"]]
    assert writable == []
    aws.delete(name)


@pytest.mark.engine
def test_a_container_may_be_given_any_variable_but_the_port(aws, image):
    name = aws.name()
    variables = {"LD_PRELOAD": "", "PYTHONSTARTUP": "/x", "DRDEPLOY_CONTAINER_ID": "mine"}
    container = {"Image": image("drdeploy-test:probe"), "Environment": variables}
    model = {"ModelName": name, "ExecutionRoleArn": ROLE}
    aws.sagemaker.create_model(**model, PrimaryContainer=container)
    aws.config(name)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    assert variables.items() <= report(aws, name)["environment"].items()
    aws.delete(name)
    variables["SAGEMAKER_BIND_TO_PORT"] = "9090"
    with pytest.raises(ClientError, match="SAGEMAKER_BIND_TO_PORT, but the service chooses"):
        aws.sagemaker.create_model(**model | {"ModelName": "other"}, PrimaryContainer=container)


@pytest.mark.engine
def test_where_it_cannot_be_had_isolation_is_refused_by_its_name(aws, contained, monkeypatch):
    monkeypatch.setattr(type(contained._engine), "can_enter_network_namespaces", False)
    with pytest.raises(ClientError) as caught:
        aws.sagemaker.create_model(
            ModelName=aws.name(),
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "drdeploy:lean"},
            EnableNetworkIsolation=True,
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "EnableNetworkIsolation needs root" in caught.value.response["Error"]["Message"]


@pytest.mark.engine
def test_a_folder_with_odd_characters_can_be_mounted(engine, lean_image, tmp_path, monkeypatch):
    home = tmp_path / "a b:c,d;e'\"{f}$g #é"
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(home))
    options = ServiceOptions(trial_start=False, mb_per_vcpu=512)
    with LocalService(isolation="container", options=options) as service:
        assert endpoint(Aws.at(service.url), lean_image)


@pytest.mark.engine
def test_on_a_shared_machine_no_container_has_a_port_or_a_network(engine, image):
    require(engine.can_enter_network_namespaces, "the right to enter a container's network (root)")
    options = ServiceOptions(trial_start=False, mb_per_vcpu=512)
    with LocalService(isolation="container", options=options, shared=True) as service:
        aws = Aws.at(service.url, service.access_key)
        name = endpoint(aws, image("drdeploy-test:probe"))
        assert report(aws, name)["interfaces"] == ["lo"]
        assert not inspected(engine, service)["HostConfig"]["PortBindings"]
