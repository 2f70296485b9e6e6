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
  name_prefix = "dr-study"
}

run "every_action_is_named" {
  command = plan

  assert {
    condition     = alltrue(flatten([for statements in values(local.policies) : [for one in statements : [for action in one.Action : !strcontains(action, "*")]]]))
    error_message = "no wildcard in actions"
  }

  assert {
    condition     = alltrue([for one in local.bounds : alltrue([for action in one.Action : !strcontains(action, "*")])])
    error_message = "no wildcard in the boundary's actions"
  }
}

run "no_pattern_reaches_another_prefix" {
  command = plan

  assert {
    condition     = !anytrue([for text in concat(values(local.policy), [local.boundary]) : strcontains(text, "dr-study*")])
    error_message = "PREFIX* is PREFIX2-... too"
  }
}

run "each_policy_fits_and_is_made" {
  command = plan

  variables {
    name_prefix  = "dr-twenty-characters"
    kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"]
    allow_vpc    = true
  }

  assert {
    condition     = length(aws_iam_policy.this) == 3 && length(aws_iam_policy.boundary) == 1
    error_message = "three policies and a boundary"
  }

  # A managed policy holds at most 6144 characters (IAM and STS quotas).
  assert {
    condition     = alltrue([for text in concat(values(local.policy), [local.boundary]) : length(text) <= 6144])
    error_message = "too long for IAM: ${jsonencode({ for part, text in local.policy : part => length(text) })}"
  }
}

run "a_boundary_of_ones_own" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/everybodys-boundary"
  }

  assert {
    condition     = length(aws_iam_policy.boundary) == 0 && output.boundary_arn == var.permissions_boundary_arn && output.boundary_json == null
    error_message = "none is made"
  }

  assert {
    condition     = [for one in local.roles : one.Condition.StringEquals["iam:PermissionsBoundary"] if one.Sid == "RolesWithinTheBoundary"] == [var.permissions_boundary_arn]
    error_message = "roles must have that one"
  }
}

run "only_its_text" {
  command = plan

  variables {
    create = false
  }

  assert {
    condition     = length(output.policy_arns) == 0 && length(aws_iam_policy.this) == 0 && length(aws_iam_policy.boundary) == 0
    error_message = "nothing is made"
  }
}

run "a_prefix_of_everything_is_refused" {
  command = plan

  variables {
    name_prefix = "*"
  }

  expect_failures = [var.name_prefix]
}

run "every_key_is_refused" {
  command = plan

  variables {
    kms_key_arns = ["*"]
  }

  expect_failures = [var.kms_key_arns]
}
