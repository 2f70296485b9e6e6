mock_provider "aws" {}

variables {
  name       = "dr-study-mobilenet-1024mb"
  model_name = "dr-study-mobilenet-aaaaaaaa"
  memory_mb  = 1024
}

run "is_paid_per_use" {
  command = apply

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.production_variants[0].serverless_config[0].provisioned_concurrency == null
    error_message = "nothing may be kept warm unasked"
  }

  assert {
    condition     = length(aws_appautoscaling_target.tracked) + length(aws_appautoscaling_target.scheduled) == 0
    error_message = "nothing is scaled unasked"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/sagemaker/Endpoints/dr-study-mobilenet-1024mb" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "logs must end, and go with the endpoint"
  }
}

run "a_key_encrypts_the_log" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/abc"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn
    error_message = "the key must be used"
  }
}

run "another_model_is_another_configuration" {
  command = plan

  variables {
    model_name = "dr-study-mobilenet-bbbbbbbb"
  }

  assert {
    condition     = !strcontains(run.is_paid_per_use.configuration_name, local.identity)
    error_message = "the new configuration must have a name of its own, to exist beside the old one"
  }
}

run "scaling_by_use" {
  command = plan

  variables {
    max_concurrency         = 10
    provisioned_concurrency = 2
    provisioned_scaling     = { min_capacity = 1, max_capacity = 5, target_utilization = 0.7 }
  }

  assert {
    condition     = aws_appautoscaling_target.tracked[0].scalable_dimension == "sagemaker:variant:DesiredProvisionedConcurrency"
    error_message = "provisioned concurrency is what is scaled"
  }

  assert {
    condition     = aws_appautoscaling_policy.this[0].target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "SageMakerVariantProvisionedConcurrencyUtilization"
    error_message = "by its utilization"
  }
}

run "scaling_by_the_clock" {
  command = plan

  variables {
    max_concurrency         = 10
    provisioned_concurrency = 1
    provisioned_scaling = {
      min_capacity = 1
      max_capacity = 1
      schedules = {
        clinic = { schedule = "cron(0 8 ? * MON-FRI *)", timezone = "America/Sao_Paulo", min_capacity = 5, max_capacity = 5 }
        night  = { schedule = "cron(0 18 ? * MON-FRI *)", timezone = "America/Sao_Paulo", min_capacity = 1, max_capacity = 1 }
      }
    }
  }

  assert {
    condition     = length(aws_appautoscaling_scheduled_action.this) == 2 && length(aws_appautoscaling_target.tracked) == 0
    error_message = "two schedules, and a target whose capacities are theirs"
  }
}

run "a_size_between_the_steps_is_refused" {
  command = plan

  variables {
    memory_mb = 1500
  }

  expect_failures = [var.memory_mb]
}

run "more_provisioned_than_permitted_is_refused" {
  command = plan

  variables {
    max_concurrency         = 2
    provisioned_concurrency = 3
  }

  expect_failures = [var.provisioned_concurrency]
}

run "a_model_in_a_vpc_is_refused" {
  command = plan

  variables {
    model_supports_serverless = false
  }

  expect_failures = [var.model_supports_serverless]
}

run "scaling_nothing_is_refused" {
  command = plan

  variables {
    provisioned_scaling = { min_capacity = 1, max_capacity = 1, target_utilization = 0.7 }
  }

  expect_failures = [var.provisioned_scaling]
}

run "scaling_beyond_the_permitted_is_refused" {
  command = plan

  variables {
    max_concurrency         = 4
    provisioned_concurrency = 2
    provisioned_scaling     = { min_capacity = 1, max_capacity = 5, target_utilization = 0.7 }
  }

  expect_failures = [var.provisioned_scaling]
}

run "scaling_by_neither_is_refused" {
  command = plan

  variables {
    max_concurrency         = 4
    provisioned_concurrency = 2
    provisioned_scaling     = { min_capacity = 1, max_capacity = 4 }
  }

  expect_failures = [var.provisioned_scaling]
}

run "a_percentage_is_no_utilization" {
  command = plan

  variables {
    max_concurrency         = 4
    provisioned_concurrency = 2
    provisioned_scaling     = { min_capacity = 1, max_capacity = 4, target_utilization = 70 }
  }

  expect_failures = [var.provisioned_scaling]
}

run "a_schedule_that_is_none_is_refused" {
  command = plan

  variables {
    max_concurrency         = 4
    provisioned_concurrency = 2
    provisioned_scaling = {
      min_capacity = 1
      max_capacity = 4
      schedules    = { morning = { schedule = "08:00", min_capacity = 1, max_capacity = 4 } }
    }
  }

  expect_failures = [var.provisioned_scaling]
}

run "a_retention_that_cloudwatch_has_not_is_refused" {
  command = plan

  variables {
    log_retention_days = 31
  }

  expect_failures = [var.log_retention_days]
}

run "cuda_is_refused" {
  command = plan

  variables {
    cuda_version = "13.0"
  }

  expect_failures = [var.cuda_version]
}
