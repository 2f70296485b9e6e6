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
    condition     = alltrue(flatten([for one in local.statements : [for action in one.Action : !strcontains(action, "*")]]))
    error_message = "no wildcard in actions"
  }

  assert {
    condition     = alltrue([for one in local.statements : contains(["Look", "Scaling", "RoleOfAutoscaling"], one.Sid) || alltrue([for arn in one.Resource : strcontains(arn, "dr-study")])])
    error_message = "only what begins with name_prefix may be changed"
  }

  assert {
    condition     = length(aws_iam_policy.this) == 1
    error_message = "the policy is made"
  }

  # A managed policy holds at most 6144 characters (IAM and STS quotas).
  assert {
    condition     = length(replace(local.policy, " ", "")) <= 6144
    error_message = "the policy is too long for IAM: ${length(local.policy)} characters"
  }
}

run "only_its_text" {
  command = plan

  variables {
    create = false
  }

  assert {
    condition     = output.policy_arn == null && length(aws_iam_policy.this) == 0
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
