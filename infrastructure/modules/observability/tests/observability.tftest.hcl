mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }
}

variables {
  name = "dr-study"
  endpoints = {
    small = { endpoint_name = "dr-study-small", kind = "serverless" }
    big   = { endpoint_name = "dr-study-big", kind = "realtime" }
  }
}

run "a_dashboard_and_nothing_that_costs" {
  command = plan

  assert {
    condition     = length(output.alarm_names) == 0 && length(aws_sns_topic.this) == 0 && length(aws_budgets_budget.this) == 0
    error_message = "alarms cost: only where asked for"
  }

  assert {
    condition     = [for one in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : length(one.properties.metrics) if strcontains(one.properties.title, "Cold starts")] == [1]
    error_message = "only serverless endpoints start cold"
  }

  assert {
    condition     = toset([for row in [for one in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : one.properties.metrics if strcontains(one.properties.title, "Memory")][0] : "${row[3]} ${row[0]}"]) == toset(["dr-study-small AWS/SageMaker", "dr-study-big /aws/sagemaker/Endpoints"])
    error_message = "memory of instances has a namespace of its own"
  }

  assert {
    condition     = [for one in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : length(one.properties.metrics) if one.properties.title == "Invocations"] == [2]
    error_message = "every endpoint is watched"
  }
}

run "alarms_for_latency_errors_and_setup" {
  command = plan

  variables {
    create_alarms      = true
    max_latency_ms     = 2000
    alarm_email        = "clinic@example.org"
    monthly_budget_usd = 20
  }

  assert {
    condition     = toset(output.alarm_names) == toset(["dr-study-big-failing", "dr-study-big-slow", "dr-study-small-cold", "dr-study-small-failing", "dr-study-small-slow"])
    error_message = "setup time is of serverless endpoints"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["big-slow"].threshold == 2000000
    error_message = "CloudWatch counts microseconds"
  }

  assert {
    condition     = aws_budgets_budget.this[0].limit_amount == "20.00" && length(aws_budgets_budget.this[0].notification) == 2
    error_message = "a mail is sent at 80 %, and for a forecast beyond the budget"
  }

  assert {
    condition     = one(aws_budgets_budget.this[0].cost_filter).values == tolist(["user:drdeploy:study$drdeploy"])
    error_message = "the budget counts what carries the tag: KEY$VALUE"
  }

  assert {
    condition     = aws_sns_topic.this[0].kms_master_key_id == null
    error_message = "CloudWatch cannot publish under alias/aws/sns"
  }
}

run "a_budget_without_an_address_is_refused" {
  command = plan

  variables {
    monthly_budget_usd = 20
  }

  expect_failures = [var.monthly_budget_usd]
}

run "an_invalid_address_is_refused" {
  command = plan

  variables {
    alarm_email = "clinic"
  }

  expect_failures = [var.alarm_email]
}

run "an_unknown_kind_is_refused" {
  command = plan

  variables {
    endpoints = { odd = { endpoint_name = "odd", kind = "batch" } }
  }

  expect_failures = [var.endpoints]
}

run "a_latency_beyond_sagemakers_own_limit_is_refused" {
  command = plan

  variables {
    max_latency_ms = 70000
  }

  expect_failures = [var.max_latency_ms]
}
