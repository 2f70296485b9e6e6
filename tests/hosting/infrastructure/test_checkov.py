"""checkov finds nothing, and every rule that is skipped has a reason."""

import json
import re
import subprocess

from terraform import INFRASTRUCTURE, MODULES

SKIP = re.compile(r"#checkov:skip=(\w+):?(.*)")
REASON_LENGTH = 40
"""A reason is a sentence."""


def scan(program: str, folder) -> dict:
    done = subprocess.run(
        [
            *(program, "--directory", folder, "--framework", "terraform"),
            *("--compact", "--skip-download", "--output", "json"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return json.loads(done.stdout)


def test_nothing_fails(checkov_program):
    found = scan(checkov_program, INFRASTRUCTURE)
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
    found = scan(checkov_program, tmp_path)
    assert "CKV_AWS_51" in {one["check_id"] for one in found["results"]["failed_checks"]}


def test_every_skip_has_its_reason():
    skips = [
        (name, found[1], found[2].strip())
        for name in MODULES
        for found in SKIP.finditer((INFRASTRUCTURE / "modules" / name / "main.tf").read_text())
    ]
    assert len(skips) >= 10
    assert [one for one in skips if len(one[2]) < REASON_LENGTH] == []
