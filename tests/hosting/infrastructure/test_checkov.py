"""checkov finds nothing, and every rule that is skipped has a reason."""

import json
import re
import subprocess

import pytest
from terraform import INFRASTRUCTURE, MODULES, Terraform, model, realtime

SKIP = re.compile(r"#checkov:skip=(\w+):?(.*)")
REASON_LENGTH = 40
"""A reason is a sentence."""


KEY = "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c"


def scan(program: str, *what, framework: str = "terraform") -> dict:
    done = subprocess.run(
        [
            *(program, *what, "--framework", framework),
            *("--compact", "--skip-download", "--output", "json"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return json.loads(done.stdout)


def test_nothing_fails(checkov_program):
    found = scan(checkov_program, "--directory", INFRASTRUCTURE)
    failed = [
        f"{one['check_id']} {one['resource']} {one['file_path']}: {one['check_name']}"
        for one in found["results"]["failed_checks"]
    ]
    assert failed == []
    assert found["summary"]["parsing_errors"] == 0
    passed = {one["check_id"] for one in found["results"]["passed_checks"]}
    assert len(passed) >= 15, passed  # it did look


def test_what_should_fail_does(checkov_program, tmp_path):
    written = '  name                 = "x"\n  image_tag_mutability = "MUTABLE"\n'
    (tmp_path / "main.tf").write_text(f'resource "aws_ecr_repository" "this" {{\n{written}}}\n')
    found = scan(checkov_program, "--directory", tmp_path)
    assert "CKV_AWS_51" in {one["check_id"] for one in found["results"]["failed_checks"]}


def test_every_skip_has_its_reason():
    skips = [
        (name, found[1], found[2].strip())
        for name in MODULES
        for file in (INFRASTRUCTURE / "modules" / name).glob("*.tf")
        for found in SKIP.finditer(file.read_text())
    ]
    assert len(skips) >= 10
    assert [one for one in skips if len(one[2]) < REASON_LENGTH] == []


@pytest.fixture
def failed_in_plan(checkov_program, provider, tmp_path):
    """``failed_in_plan("modules/model", **values)``: what checkov says of what would be made.

    It reads the files without knowing most values; in a plan it sees each policy as it would be,
    and no comment skips anything.
    """

    def failed(name: str, **values) -> set[str]:
        work = tmp_path / name
        terraform = Terraform(INFRASTRUCTURE / name, work, provider, values).init()
        terraform.with_values("plan", f"-out={work / 'plan'}")
        shown = terraform.run("show", "-json", str(work / "plan")).stdout
        (work / "plan.json").write_text(shown)
        found = scan(checkov_program, "--file", work / "plan.json", framework="terraform_plan")
        assert found["summary"]["passed"] > 0
        return {one["check_id"] for one in found["results"]["failed_checks"]}

    return failed


@pytest.mark.parametrize(
    ("allow_vpc", "left"),
    [
        # Rights that know no resource.
        (False, {"CKV_AWS_355"}),
        # And the network interfaces that SageMaker makes, and who may use them.
        (True, {"CKV_AWS_289", "CKV_AWS_290", "CKV_AWS_355"}),
    ],
)
def test_the_policies_of_a_deployer_allow_no_escalation(failed_in_plan, allow_vpc, left):
    failed = failed_in_plan(
        "modules/deployer-policy", name_prefix="dr-may", kms_key_arns=[KEY], allow_vpc=allow_vpc
    )
    assert failed == left


def test_an_escalation_would_be_found(failed_in_plan, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    text = (
        'resource "aws_iam_policy" "this" { policy = jsonencode({ Version = "2012-10-17", '
        'Statement = [{ Effect = "Allow", Action = ["iam:PutRolePolicy", "sts:AssumeRole"], '
        'Resource = ["*"] }] }) }'
    )
    (broken / "main.tf").write_text(text)
    versions = (INFRASTRUCTURE / "modules" / "model" / "versions.tf").read_text()
    (broken / "versions.tf").write_text(versions)
    assert {"CKV_AWS_286", "CKV_AWS_289"} <= failed_in_plan(broken)


SKIPPED_FOR_A_KEY = {"CKV_AWS_26", "CKV_AWS_98", "CKV_AWS_136", "CKV_AWS_145", "CKV_AWS_158"}


def test_a_key_that_an_environment_is_given_leaves_nothing_without_it(failed_in_plan):
    """So the skips that say so are true."""
    values = {
        "name_prefix": "dr-may",
        "models": {"mobilenet": model()},
        "endpoints": {"big": realtime(data_capture={"sampling_percentage": 5})},
        "allow_always_on": True,
        "alarm_email": "clinic@example.org",
    }
    assert failed_in_plan("environments/study", **values) >= SKIPPED_FOR_A_KEY
    with_key = failed_in_plan("environments/study", **values, kms_key_arn=KEY)
    assert with_key & SKIPPED_FOR_A_KEY == set()
