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
  name = "dr-study-opening-hours"
  endpoints = {
    big = {
      endpoint_name      = "dr-study-big"
      endpoint_arn       = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-big"
      configuration_name = "dr-study-big-abc"
      configuration_arn  = "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/dr-study-big-abc"
      tags               = { clinic = "one", team = "eyes" }
      schedules          = { clinic = { opens = "cron(50 7 ? * MON-FRI *)", closes = "cron(0 18 ? * MON-FRI *)" } }
    }
  }
}

run "it_creates_and_deletes_the_endpoint" {
  command = apply

  override_resource {
    target = aws_iam_role.this
    values = { arn = "arn:aws:iam::123456789012:role/dr-study-opening-hours" }
  }

  assert {
    condition     = { for name, one in aws_scheduler_schedule.this : name => one.target[0].arn } == { "dr-study-big-clinic-opens" = "arn:aws:scheduler:::aws-sdk:sagemaker:createEndpoint", "dr-study-big-clinic-closes" = "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint" }
    error_message = "the scheduler creates and deletes the endpoint itself"
  }

  assert {
    condition     = jsondecode(aws_scheduler_schedule.this["dr-study-big-clinic-opens"].target[0].input) == { EndpointName = "dr-study-big", EndpointConfigName = "dr-study-big-abc", Tags = [{ Key = "clinic", Value = "one" }, { Key = "team", Value = "eyes" }] }
    error_message = "the endpoint is created as Terraform created it"
  }

  assert {
    condition     = jsondecode(aws_scheduler_schedule.this["dr-study-big-clinic-closes"].target[0].input) == { EndpointName = "dr-study-big" }
    error_message = "the endpoint is deleted, and its configuration stays"
  }

  assert {
    condition     = alltrue([for one in values(aws_scheduler_schedule.this) : one.target[0].retry_policy[0].maximum_event_age_in_seconds == 1800 && one.schedule_expression_timezone == "UTC"])
    error_message = "a call that fails is tried again; hours without a time zone are in UTC"
  }
}

run "it_may_create_and_delete_the_endpoint_and_no_more" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role_policy.this.policy).Statement == [
      {
        Sid      = "CreateEndpoints"
        Effect   = "Allow"
        Action   = ["sagemaker:CreateEndpoint"]
        Resource = ["arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/dr-study-big-abc", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-big"]
      },
      {
        Sid      = "DeleteAndTagEndpoints"
        Effect   = "Allow"
        Action   = ["sagemaker:AddTags", "sagemaker:DeleteEndpoint"]
        Resource = ["arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-big"]
      },
    ]
    error_message = "named endpoints, each with its own configuration"
  }

  assert {
    condition     = jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceArn"] == "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default"
    error_message = "the confused deputy"
  }
}

run "a_key_of_the_volumes_is_lent_through_sagemaker_alone" {
  command = plan

  variables {
    endpoints = {
      big = {
        endpoint_name      = "dr-study-big"
        endpoint_arn       = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-big"
        configuration_name = "dr-study-big-abc"
        configuration_arn  = "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/dr-study-big-abc"
        volume_key_arn     = "arn:aws:kms:us-east-1:123456789012:key/0f1e"
        schedules          = { clinic = { opens = "cron(50 7 ? * MON-FRI *)", closes = "cron(0 18 ? * MON-FRI *)" } }
      }
    }
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[2] == { Sid = "LendVolumeKeys", Effect = "Allow", Action = ["kms:CreateGrant"], Resource = ["arn:aws:kms:us-east-1:123456789012:key/0f1e"], Condition = { StringEquals = { "kms:ViaService" = "sagemaker.us-east-1.amazonaws.com" } } }
    error_message = "a grant, through SageMaker, for the key of the volumes"
  }
}

run "a_line_of_crontab_is_no_schedule" {
  command = plan

  variables {
    endpoints = {
      big = {
        endpoint_name      = "dr-study-big"
        endpoint_arn       = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-big"
        configuration_name = "dr-study-big-abc"
        configuration_arn  = "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/dr-study-big-abc"
        schedules          = { clinic = { opens = "50 7 * * 1-5", closes = "cron(0 18 ? * MON-FRI *)" } }
      }
    }
  }

  expect_failures = [var.endpoints]
}

run "a_call_is_not_tried_until_the_next_opening" {
  command = plan

  variables {
    retry_s = 7200
  }

  expect_failures = [var.retry_s]
}
