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

run "it_turns_every_year_and_does_not_vanish_at_once" {
  command = plan

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "what a key has encrypted is lost with it"
  }

  assert {
    condition     = aws_kms_alias.this.name == "alias/dr-study"
    error_message = "the key is found by its alias"
  }
}

run "no_principal_is_everybody" {
  command = plan

  assert {
    condition     = alltrue([for one in jsondecode(local.policy).Statement : !contains(values(one.Principal), "*")])
    error_message = "only the account and two services"
  }

  assert {
    condition     = alltrue([for one in jsondecode(local.policy).Statement : can(one.Condition) || contains(keys(one.Principal), "AWS")])
    error_message = "a service only for the logs and alarms of the prefix"
  }
}

run "a_week_at_least" {
  command = plan

  variables {
    deletion_window_days = 1
  }

  expect_failures = [var.deletion_window_days]
}
