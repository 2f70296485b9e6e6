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
}

variables {
  name                 = "dr-study-execution"
  endpoint_name_prefix = "dr-study"
  bucket_arns          = ["arn:aws:s3:::dr-study-artifacts"]
  repository_arns      = ["arn:aws:ecr:us-east-1:123456789012:repository/dr-study/drdeploy"]
}

run "only_sagemaker_for_this_account_assumes_it" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Sid       = "OnlySageMakerForThisAccount"
      Effect    = "Allow"
      Principal = { Service = "sagemaker.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:sagemaker:us-east-1:123456789012:*" }
      }
    }]
    error_message = "nobody else may assume the role"
  }
}

run "it_is_bounded_where_a_boundary_is_given" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/dr-study-boundary-us-east-1"
  }

  assert {
    condition     = aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/dr-study-boundary-us-east-1"
    error_message = "the boundary must be attached"
  }
}

run "a_name_is_no_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "dr-study-boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "everything_is_named_exactly" {
  command = plan

  assert {
    condition = [for one in local.always : one.Sid if contains(one.Resource, "*")] == [
      "LogInToTheRegistry", "WriteMetrics"
    ]
    error_message = "only a registry token and metrics know no resource"
  }

  assert {
    condition     = alltrue([for one in jsondecode(aws_iam_role_policy.this.policy).Statement : alltrue([for action in one.Action : !strcontains(action, "*")])])
    error_message = "every action is named"
  }

  assert {
    condition     = length(jsondecode(aws_iam_role_policy.this.policy).Statement) == 6
    error_message = "keys, capture and subnets only where they are asked for"
  }
}

run "keys_capture_and_subnets_where_asked_for" {
  command = plan

  variables {
    kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/abc"]
    capture_arns = ["arn:aws:s3:::captured/requests/*"]
    in_vpc       = true
  }

  assert {
    condition = slice([for one in jsondecode(aws_iam_role_policy.this.policy).Statement : one.Sid], 6, 9) == [
      "UseKeysThroughS3", "WriteCapturedRequests", "AttachToSubnets"
    ]
    error_message = "each has its statement"
  }
}

run "every_bucket_is_refused" {
  command = plan

  variables {
    bucket_arns = ["arn:aws:s3:::*"]
  }

  expect_failures = [var.bucket_arns]
}

run "every_repository_is_refused" {
  command = plan

  variables {
    repository_arns = ["arn:aws:ecr:us-east-1:123456789012:repository/*"]
  }

  expect_failures = [var.repository_arns]
}

run "every_key_is_refused" {
  command = plan

  variables {
    kms_key_arns = ["*"]
  }

  expect_failures = [var.kms_key_arns]
}

run "a_whole_bucket_for_capture_is_refused" {
  command = plan

  variables {
    capture_arns = ["arn:aws:s3:::captured/*"]
  }

  expect_failures = [var.capture_arns]
}

run "a_wildcard_in_the_folder_is_refused" {
  command = plan

  variables {
    artifact_prefix = "*/"
  }

  expect_failures = [var.artifact_prefix]
}
