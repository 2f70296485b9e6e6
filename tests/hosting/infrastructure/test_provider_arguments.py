"""The provider of the tests: what it does not use is refused, names are made, plans converge."""

import pytest
from aws_provider.arguments import unused_arguments
from aws_provider.resources import RESOURCES
from aws_provider.schema import aws_schema
from terraform import Terraform

PROVIDER = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region = "us-east-1"
}
"""
ASSUMED = """jsonencode({
    Version   = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "sagemaker.amazonaws.com" }
    }]
  })"""
ALLOWED = """jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }]
  })"""

WITHOUT_NAMES = f"""
resource "aws_ecr_repository" "name_alone" {{
  name = "name-alone"
}}
resource "aws_s3_bucket" "prefixed" {{
  bucket_prefix = "models-"
}}
resource "aws_s3_bucket" "generated" {{}}
resource "aws_cloudwatch_log_group" "prefixed" {{
  name_prefix = "/clinic/"
}}
resource "aws_sns_topic" "generated" {{}}
resource "aws_kms_key" "generated" {{}}
resource "aws_kms_alias" "prefixed" {{
  name_prefix   = "alias/clinic-"
  target_key_id = aws_kms_key.generated.key_id
}}
resource "aws_iam_role" "prefixed" {{
  name_prefix        = "clinic-"
  assume_role_policy = {ASSUMED}
}}
resource "aws_iam_role_policy" "generated" {{
  role   = aws_iam_role.prefixed.id
  policy = {ALLOWED}
}}
resource "aws_iam_policy" "generated" {{
  policy = {ALLOWED}
}}
resource "aws_sagemaker_model" "generated" {{
  execution_role_arn = aws_iam_role.prefixed.arn
  primary_container {{
    image = "drdeploy:lean"
  }}
}}
resource "aws_sagemaker_endpoint_configuration" "prefixed" {{
  name_prefix = "clinic-"
  production_variants {{
    variant_name = "AllTraffic"
    model_name   = aws_sagemaker_model.generated.name
    serverless_config {{
      max_concurrency   = 1
      memory_size_in_mb = 1024
    }}
  }}
  lifecycle {{
    create_before_destroy = true
  }}
}}
resource "aws_sagemaker_endpoint" "generated" {{
  endpoint_config_name = aws_sagemaker_endpoint_configuration.prefixed.name
}}
output "names" {{
  value = {{
    bucket = aws_s3_bucket.prefixed.bucket
    group  = aws_cloudwatch_log_group.prefixed.name
    role   = aws_iam_role.prefixed.name
    config = aws_sagemaker_endpoint_configuration.prefixed.name
    alias  = aws_kms_alias.prefixed.name
    model  = aws_sagemaker_model.generated.name
  }}
}}
"""

BUDGET = """"aws_budgets_budget" "x" {
  name         = "x"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = "1"
  limit_unit   = "USD"
  notification {
    comparison_operator       = "GREATER_THAN"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    notification_type         = "ACTUAL"
    subscriber_sns_topic_arns = ["arn:aws:sns:us-east-1:123456789012:x"]
  }
}"""


@pytest.fixture
def written(provider, tmp_path):
    """``written(text)``: terraform in a folder with this configuration, initialized."""
    made = []

    def write(text: str) -> Terraform:
        folder = tmp_path / "configuration"
        folder.mkdir()
        (folder / "main.tf").write_text(PROVIDER + text)
        made.append(Terraform(folder, tmp_path / "work", provider).init())
        return made[-1]

    yield write
    for one in made:
        if one.has_resources():
            one.destroy()


def test_names_are_made_and_a_second_plan_is_empty(written):
    terraform = written(WITHOUT_NAMES)
    names = terraform.apply()["names"]
    assert names["bucket"].startswith("models-")
    assert names["group"].startswith("/clinic/")
    assert names["role"].startswith("clinic-")
    assert names["config"].startswith("clinic-")
    assert names["alias"].startswith("alias/clinic-")
    assert names["model"].startswith("terraform-")
    assert terraform.planned() == {}


@pytest.mark.parametrize(
    ("resource", "unused"),
    [
        ('"aws_s3_bucket" "x" {\n  bucket = "x"\n  acl = "private"\n}', "acl"),
        (
            '"aws_ecr_repository" "x" {\n  name = "x"\n  timeouts {\n    delete = "1m"\n  }\n}',
            "timeouts",
        ),
        ('"aws_sns_topic" "x" {\n  name = "x"\n  display_name = "Clinic"\n}', "display_name"),
        (BUDGET, "notification.subscriber_sns_topic_arns"),
    ],
    ids=["argument", "block", "attribute of the API", "argument in a block"],
)
def test_an_argument_that_no_handler_uses_is_refused_at_plan(written, resource, unused):
    done = written(f"resource {resource}\n").with_values("plan", check=False)
    assert done.returncode == 1
    assert f"The test provider does not use {unused}" in " ".join(done.stderr.split())


@pytest.mark.parametrize("kind", sorted(RESOURCES))
def test_every_argument_of_a_resource_is_used_or_refused(kind):
    """No argument is unknown to both: an argument that a handler names exists in the schema."""
    handler, block = RESOURCES[kind], aws_schema().resources[kind]
    known = set(block.attributes) | set(block.blocks)
    assert handler.own_arguments | set(handler.own_blocks) <= known
    required = {name: "value" for name, one in block.attributes.items() if one.required}
    assert unused_arguments(handler, required) == []
