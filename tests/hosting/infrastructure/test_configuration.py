"""Every file of infrastructure/ is well-formed, valid and does what its own tests say."""

import json
import re
import runpy
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from aws_provider.plugin import VERSION
from required import require
from terraform import ENVIRONMENTS, FOLDERS, INFRASTRUCTURE, MODULES, Terraform

PARTS = ("README.md", "main.tf", "outputs.tf", "variables.tf", "versions.tf")


@pytest.fixture(scope="module")
def at(provider, tmp_path_factory):
    """``at("modules/model")``: terraform there, initialized."""

    def initialized(name: str) -> Terraform:
        return Terraform(INFRASTRUCTURE / name, tmp_path_factory.mktemp("tf"), provider).init()

    return initialized


def test_it_is_formatted(at):
    done = at("modules/model").run("fmt", "-check", "-recursive", "-diff", "../..", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_valid_by_the_schema_of_the_aws_provider(at, folder):
    done = at(folder).run("validate", check=False)
    assert done.returncode == 0, done.stderr


def test_the_tables_of_inputs_and_outputs_are_up_to_date():
    script = runpy.run_path(str(INFRASTRUCTURE.parent / "scripts" / "write_module_docs.py"))
    readmes = script["readmes"]()
    assert len(readmes) == len(FOLDERS)
    stale = [str(one) for one in readmes if one.read_text() != script["written"](one)]
    assert stale == [], "run scripts/write_module_docs.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_variable_and_output_is_described_and_every_variable_typed(folder):
    script = runpy.run_path(str(INFRASTRUCTURE.parent / "scripts" / "write_module_docs.py"))
    variables = script["entries"](INFRASTRUCTURE / folder / "variables.tf")
    outputs = script["entries"](INFRASTRUCTURE / folder / "outputs.tf")
    assert [one.name for one in variables if "type" not in one.arguments] == []
    assert [one.name for one in variables + outputs if len(one.description) < 10] == []


def test_the_list_of_attributes_is_that_of_the_types_of_models_and_endpoints():
    """The environments refuse other attributes, which Terraform would drop without a word."""
    module = INFRASTRUCTURE / "modules" / "deployment"
    found, path = {}, []
    for line in (module / "variables.tf").read_text().splitlines():
        if variable := re.match(r'variable "(model|endpoint)s"', line):
            root = variable[1]
        elif line == "  type = map(object({":
            path = [root]
        elif path and line.lstrip().startswith("})"):
            path.pop()
        elif path and (attribute := re.match(r"\s+(\w+)\s*= ", line)):
            found.setdefault(".".join(path), []).append(attribute[1])
            if line.endswith("object({"):
                path.append(attribute[1])
    listed = json.loads((module / "attributes.json").read_text())
    assert {name: set(one) for name, one in listed.items()} == {
        name: set(one) for name, one in found.items()
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_has_every_part(folder):
    assert [part for part in PARTS if not (INFRASTRUCTURE / folder / part).is_file()] == []


def test_every_module_passes_its_own_tests(at):
    def failures(name: str) -> str:
        assert list((INFRASTRUCTURE / "modules" / name / "tests").glob("*.tftest.hcl")), name
        done = at(f"modules/{name}").run("test", check=False)
        return "" if done.returncode == 0 else f"{name}: {done.stdout}{done.stderr}"

    with ThreadPoolExecutor(2) as pool:
        assert [one for one in pool.map(failures, MODULES) if one] == []


@pytest.mark.parametrize(
    ("written", "misspelt"),
    [
        ("memory_size_in_mb  ", "memory_size_in_gb  "),
        ("endpoint_config_name =", "endpoint_configuration_name ="),
        ("serverless_config {", "server_less_config {"),
    ],
)
def test_a_misspelt_argument_is_refused(provider, tmp_path, written, misspelt):
    module = tmp_path / "module"
    shutil.copytree(INFRASTRUCTURE / "modules" / "serverless-endpoint", module)
    text = (module / "main.tf").read_text()
    assert written in text
    (module / "main.tf").write_text(text.replace(written, misspelt))
    done = Terraform(module, tmp_path / "work", provider).init().run("validate", check=False)
    assert done.returncode == 1
    assert misspelt.split()[0] in done.stderr
    assert "Unsupported" in done.stderr


def test_a_value_of_the_wrong_type_is_refused(provider, tmp_path):
    module = tmp_path / "module"
    shutil.copytree(INFRASTRUCTURE / "modules" / "artifact-store", module)
    text = (module / "main.tf").read_text()
    (module / "main.tf").write_text(
        text.replace("force_destroy = var.force_destroy", "force_destroy = []")
    )
    done = Terraform(module, tmp_path / "work", provider).init().run("validate", check=False)
    assert done.returncode == 1
    assert "bool required" in done.stderr


# What is applied as it stands; the other modules are parts of these.
ROOTS = [f"environments/{name}" for name in ENVIRONMENTS]
ROOTS += ["modules/deployer-policy", "modules/encryption-key"]
PINNED = re.compile(r'^\s*version\s*=\s*"([\d.]+)"', re.MULTILINE)
PLATFORMS = 5
"""As many as `make terraform-lock` asks for; a package of the provider's is one checksum each."""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_names_the_one_version_of_the_provider_that_is_tested(name):
    versions = (INFRASTRUCTURE / "environments" / name / "versions.tf").read_text()
    assert PINNED.findall(versions) == [VERSION]


@pytest.mark.parametrize("root", ROOTS)
def test_a_lock_file_is_not_ignored(root):
    lock = f"infrastructure/{root}/.terraform.lock.hcl"
    project = INFRASTRUCTURE.parent
    require((project / ".git").exists(), "a clone, not an unpacked archive")
    ignored = subprocess.run(["git", "check-ignore", lock], cwd=project, check=False)
    assert ignored.returncode == 1


@pytest.mark.parametrize("root", ROOTS)
def test_a_lock_file_that_is_there_is_whole(root):
    """None comes with the project yet: HashiCorp's registry could not be reached."""
    lock = INFRASTRUCTURE / root / ".terraform.lock.hcl"
    if not lock.exists():
        return
    text = lock.read_text()
    versions = PINNED.findall(text)
    assert versions == [VERSION] if root.startswith("environments/") else len(versions) == 1
    assert text.count('"h1:') >= PLATFORMS
    assert text.count('"zh:') >= PLATFORMS
