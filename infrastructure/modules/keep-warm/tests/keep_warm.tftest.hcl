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
  name = "dr-study-keep-warm"
  endpoints = {
    small = {
      endpoint_name = "dr-study-small"
      endpoint_arn  = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-small"
      schedules     = { clinic = { schedule = "cron(0/9 8-17 ? * MON-FRI *)" } }
    }
  }
}

run "it_sends_a_photograph_on_time" {
  command = plan

  assert {
    condition     = aws_scheduler_schedule.this["dr-study-small-clinic"].target[0].arn == "arn:aws:scheduler:::aws-sdk:sagemakerruntime:invokeEndpoint"
    error_message = "the scheduler invokes the endpoint itself"
  }

  assert {
    condition     = aws_scheduler_schedule.this["dr-study-small-clinic"].flexible_time_window[0].mode == "OFF"
    error_message = "a request that is late keeps nothing warm"
  }

  assert {
    condition     = aws_scheduler_schedule.this["dr-study-small-clinic"].schedule_expression_timezone == "UTC"
    error_message = "hours without a time zone are in UTC"
  }
}

run "it_may_invoke_the_endpoint_and_no_more" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role_policy.this.policy).Statement == [{
      Sid      = "SendRequests"
      Effect   = "Allow"
      Action   = ["sagemaker:InvokeEndpoint"]
      Resource = ["arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-small"]
    }]
    error_message = "one action, on named endpoints"
  }

  assert {
    condition     = jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceArn"] == "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default"
    error_message = "the confused deputy"
  }
}

run "another_server_gets_its_own_body" {
  command = apply

  variables {
    endpoints = {
      small = {
        endpoint_name = "dr-study-small"
        endpoint_arn  = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-small"
        schedules     = { clinic = { schedule = "rate(9 minutes)" } }
        body          = "{}"
        content_type  = "application/json"
      }
    }
  }

  override_resource {
    target = aws_iam_role.this
    values = { arn = "arn:aws:iam::123456789012:role/dr-study-keep-warm" }
  }

  assert {
    condition     = jsondecode(aws_scheduler_schedule.this["dr-study-small-clinic"].target[0].input) == { EndpointName = "dr-study-small", ContentType = "application/json", Body = "{}" }
    error_message = "what was asked for is sent"
  }
}

run "a_line_of_crontab_is_no_schedule" {
  command = plan

  variables {
    endpoints = {
      small = {
        endpoint_name = "dr-study-small"
        endpoint_arn  = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dr-study-small"
        schedules     = { clinic = { schedule = "*/9 * * * *" } }
      }
    }
  }

  expect_failures = [var.endpoints]
}
