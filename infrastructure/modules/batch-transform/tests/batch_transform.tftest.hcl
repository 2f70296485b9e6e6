mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::dr-batch-123456789012" }
  }
}

variables {
  name            = "dr-batch"
  bucket_name     = "dr-batch-123456789012"
  repository_arns = ["arn:aws:ecr:us-east-1:123456789012:repository/dr/drdeploy"]
}

run "only_sagemaker_for_this_account_assumes_it" {
  command = plan

  assert {
    condition     = jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringEquals == { "aws:SourceAccount" = "123456789012" }
    error_message = "nobody else may assume the role"
  }
}

run "answers_are_written_into_one_folder" {
  command = apply

  assert {
    condition = [for one in jsondecode(aws_iam_role_policy.this.policy).Statement : one.Resource if contains(one.Action, "s3:PutObject")] == [
      ["arn:aws:s3:::dr-batch-123456789012/batch/*"]
    ]
    error_message = "the role may write nowhere else"
  }

  assert {
    condition     = [for one in jsondecode(aws_iam_role_policy.this.policy).Statement : one.Sid if one.Sid == "UseTheKeyThroughS3"] == []
    error_message = "without a key, none is used"
  }
}

run "further_inputs_are_read_and_never_written" {
  command = apply

  variables {
    input_arns = ["arn:aws:s3:::eyes/monday/*"]
  }

  assert {
    condition = [for one in jsondecode(aws_iam_role_policy.this.policy).Statement : one.Sid
    if contains(flatten([one.Resource]), "arn:aws:s3:::eyes/monday/*")] == ["ReadArchivesAndPhotographs"]
    error_message = "further inputs may only be read"
  }

  assert {
    condition = { for one in jsondecode(aws_iam_role_policy.this.policy).Statement : one.Resource[0] => one.Condition.StringLike["s3:prefix"]
      if contains(one.Action, "s3:ListBucket") } == {
      "arn:aws:s3:::dr-batch-123456789012" = ["artifacts/*", "batch/*"]
      "arn:aws:s3:::eyes"                  = ["monday/*"]
    }
    error_message = "only the folders of the jobs may be listed"
  }
}

run "a_bucket_is_no_folder" {
  command = plan

  variables {
    input_arns = ["arn:aws:s3:::eyes/*"]
  }

  expect_failures = [var.input_arns]
}
