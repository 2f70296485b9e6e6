"""Real Terraform, driven: its plan is data, its refusals are errors, Ctrl-C is passed on."""

import os
import signal
import threading
import time

import pytest

from drdeploy.errors import TerraformFailed, TerraformUnavailable
from drdeploy.hosting.deployment.terraform import check_terraform

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


def test_a_plan_is_data_and_an_apply_does_it(terraform_of):
    terraform = terraform_of(TWO)
    changes = terraform.plan()
    assert changes.summary == "3 to create"
    assert {one.address for one in changes.changes} == {
        "terraform_data.one",
        'terraform_data.each["x"]',
        'terraform_data.each["y"]',
    }
    terraform.apply()
    assert terraform.outputs() == {"made": {"name": "a"}}
    assert not terraform.plan()
    resources = terraform.workspace.resources()
    assert [one.address for one in resources] == [
        'terraform_data.each["x"]',
        'terraform_data.each["y"]',
        "terraform_data.one",
    ]
    assert terraform.plan(destroy=True).summary == "3 to delete"
    terraform.apply()
    assert terraform.workspace.resources() == ()


def test_nothing_is_written_beside_the_configuration(terraform_of, tmp_path):
    terraform = terraform_of(TWO)
    terraform.plan()
    terraform.apply()
    assert [path.name for path in (tmp_path / "configuration").iterdir()] == ["main.tf"]
    assert not terraform.workspace.plan.exists()


def test_a_failed_apply_says_why_and_keeps_the_state_of_what_there_is(terraform_of):
    terraform = terraform_of(FAILS)
    terraform.plan()
    with pytest.raises(TerraformFailed, match="the endpoint has failed") as failure:
        terraform.apply()
    assert str(terraform.workspace.folder) in str(failure.value)
    addresses = [one.address for one in terraform.workspace.resources()]
    assert "terraform_data.first" in addresses


def test_a_configuration_that_is_wrong_names_the_line(terraform_of):
    with pytest.raises(TerraformFailed, match="Unsupported argument"):
        terraform_of('resource "terraform_data" "one" { inptu = 1 }').plan()


def test_ctrl_c_ends_terraform_in_an_orderly_way_and_keeps_its_state(terraform_of, tmp_path):
    terraform = terraform_of(SLOW)
    terraform.plan()
    begun = tmp_path / "configuration" / "begun"

    def interrupt():
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            terraform.apply()
    finally:
        signal.signal(signal.SIGINT, before)
    addresses = [one.address for one in terraform.workspace.resources()]
    assert "terraform_data.first" in addresses
    assert terraform.plan(destroy=True).changes  # the state is not locked


def test_without_terraform_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerraformUnavailable, match=r"not installed\. Install Terraform 1\.9"):
        check_terraform()


@pytest.mark.parametrize(
    ("printed", "reason"),
    [('{"terraform_version": "1.5.7"}', "1.5.7 is too old"), ("no json", "does not report")],
)
def test_an_old_terraform_is_refused(tmp_path, printed, reason):
    program = tmp_path / "terraform"
    program.write_text(f"#!/bin/sh\necho '{printed}'\n")
    program.chmod(0o755)
    with pytest.raises(TerraformUnavailable, match=reason):
        check_terraform(str(program))


def test_the_terraform_of_this_machine_is_new_enough(terraform_program):
    assert check_terraform(terraform_program).startswith("1.")
