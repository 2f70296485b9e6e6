"""Real Terraform, driven: its plan is data, its refusals are errors, Ctrl-C is passed on."""

import signal
import subprocess
import sys
import time

import pytest

from drdeploy.errors import TerraformFailed, TerraformUnavailable
from drdeploy.hosting.deployment.terraform import check_terraform_version

TWO = """
resource "terraform_data" "one" { input = "a" }
resource "terraform_data" "each" {
  for_each = toset(["x", "y"])
  input    = each.key
}
output "made" { value = { name = terraform_data.one.output } }
"""
FAILS = """
resource "terraform_data" "first" { input = "kept" }
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "echo the endpoint has failed; exit 7" }
}
"""
SLOW = """
resource "terraform_data" "first" { input = "kept" }
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "touch begun; sleep 600" }
}
"""

# What `endpoint deploy` does, in a process that can be interrupted or killed.
APPLY = """
import os, signal, sys
from pathlib import Path
# A runner in the background ignores Ctrl-C, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from drdeploy.hosting.deployment.terraform import Terraform
from drdeploy.hosting.deployment.workspace import TerraformWorkspace
folder = Path(sys.argv[1])
workspace = TerraformWorkspace(folder / "work")
arguments = folder / "configuration", workspace, os.environ, lambda _: None, sys.argv[2]
terraform = Terraform(*arguments)
terraform.initialise()
workspace.variables.write_text("{}")
terraform.make_plan()
terraform.apply_last_plan()
"""


def test_a_plan_is_data_and_an_apply_does_it(terraform_of):
    terraform = terraform_of(TWO)
    changes = terraform.make_plan()
    assert changes.summary == "3 to create"
    assert {one.address for one in changes.changes} == {
        "terraform_data.one",
        'terraform_data.each["x"]',
        'terraform_data.each["y"]',
    }
    terraform.apply_last_plan()
    assert terraform.read_outputs() == {"made": {"name": "a"}}
    assert not terraform.make_plan()
    resources = terraform.workspace.read_resources()
    assert [one.address for one in resources] == [
        'terraform_data.each["x"]',
        'terraform_data.each["y"]',
        "terraform_data.one",
    ]
    assert terraform.make_plan(destroy=True).summary == "3 to delete"
    terraform.apply_last_plan()
    assert terraform.workspace.read_resources() == ()


def test_the_log_of_terraform_is_kept_apart_from_its_output(terraform_of, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_LOG", "DEBUG")
    reported = []
    terraform = terraform_of(TWO, reported.append)
    assert terraform.make_plan().summary == "3 to create"
    assert terraform.read_outputs() == {}
    log = tmp_path / "work" / "terraform-debug.log"
    assert "[DEBUG]" in log.read_text() or "[INFO]" in log.read_text()
    assert f"The log of Terraform is in {log}" in reported


def test_nothing_is_written_beside_the_configuration(terraform_of, tmp_path):
    terraform = terraform_of(TWO)
    terraform.make_plan()
    terraform.apply_last_plan()
    assert [path.name for path in (tmp_path / "configuration").iterdir()] == ["main.tf"]
    assert not terraform.workspace.plan.exists()


def test_a_failed_apply_says_why_and_keeps_the_state_of_what_there_is(terraform_of):
    terraform = terraform_of(FAILS)
    terraform.make_plan()
    with pytest.raises(TerraformFailed, match="the endpoint has failed") as failure:
        terraform.apply_last_plan()
    assert str(terraform.workspace.folder) in str(failure.value)
    addresses = [one.address for one in terraform.workspace.read_resources()]
    assert "terraform_data.first" in addresses


def test_a_configuration_that_is_wrong_names_the_line(terraform_of):
    with pytest.raises(TerraformFailed, match="Unsupported argument"):
        terraform_of('resource "terraform_data" "one" { inptu = 1 }').make_plan()


def _start_apply(configuration, folder, program):
    """Plan and apply in a process of its own, and wait until Terraform is creating something.

    The test runner itself must neither be interrupted nor fork: the libraries that it has loaded
    run dozens of threads.
    """
    (folder / "configuration").mkdir()
    (folder / "configuration" / "main.tf").write_text(configuration)
    child = subprocess.Popen([sys.executable, "-c", APPLY, folder, program], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (folder / "configuration" / "begun").exists():
        assert child.poll() is None, child.communicate()[1].decode()
        assert time.monotonic() < deadline, "Terraform has begun nothing"
        time.sleep(0.02)
    return child


def test_ctrl_c_ends_terraform_in_an_orderly_way_and_keeps_its_state(
    terraform_of, tmp_path, terraform_program
):
    child = _start_apply(SLOW, tmp_path, terraform_program)
    child.send_signal(signal.SIGINT)
    _, printed = child.communicate(timeout=120)
    assert b"KeyboardInterrupt" in printed
    terraform = terraform_of(SLOW)
    addresses = [one.address for one in terraform.workspace.read_resources()]
    assert "terraform_data.first" in addresses
    assert terraform.make_plan(destroy=True).changes  # the state is not locked


def test_terraform_finishes_and_writes_its_state_when_its_command_is_killed(
    terraform_of, tmp_path, terraform_program
):
    configuration = SLOW.replace("sleep 600", "sleep 2")
    child = _start_apply(configuration, tmp_path, terraform_program)
    child.kill()
    child.communicate()
    terraform = terraform_of(configuration)
    # The same command waits for the state, and then there is nothing left to do.
    assert not terraform.make_plan()
    assert len(terraform.workspace.read_resources()) == 2


def test_without_terraform_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerraformUnavailable, match=r"not installed\. Install Terraform 1\.9"):
        check_terraform_version()


def test_opentofu_alone_is_refused_by_its_name(monkeypatch, tmp_path):
    (tmp_path / "tofu").write_text("#!/bin/sh\n")
    (tmp_path / "tofu").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerraformUnavailable, match=r"OpenTofu is installed.*Install Terraform"):
        check_terraform_version()


@pytest.mark.parametrize(
    ("printed", "reason"),
    [('{"terraform_version": "1.5.7"}', "1.5.7 is too old"), ("no json", "names no version")],
)
def test_an_old_terraform_is_refused(tmp_path, printed, reason):
    program = tmp_path / "terraform"
    program.write_text(f"#!/bin/sh\necho '{printed}'\n")
    program.chmod(0o755)
    with pytest.raises(TerraformUnavailable, match=reason):
        check_terraform_version(str(program))


def test_the_terraform_of_this_machine_is_new_enough(terraform_program):
    assert check_terraform_version(terraform_program).startswith("1.")
