mock_provider "aws" {}

variables {
  name          = "dr-study-mobilenet-m5-xlarge"
  model_name    = "dr-study-mobilenet-aaaaaaaa"
  instance_type = "ml.m5.xlarge"
}

run "one_instance_with_guardrails" {
  command = apply

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.production_variants[0].initial_instance_count == 1
    error_message = "one instance unless asked"
  }

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && length(aws_sagemaker_endpoint_configuration.this.data_capture_config) == 0
    error_message = "neither scaling nor capture unless asked"
  }

  assert {
    condition     = aws_sagemaker_endpoint.this.deployment_config[0].blue_green_update_policy[0].traffic_routing_configuration[0].type == "ALL_AT_ONCE"
    error_message = "blue/green"
  }

  assert {
    condition     = toset([for one in aws_sagemaker_endpoint.this.deployment_config[0].auto_rollback_configuration[0].alarms : one.alarm_name]) == toset(output.guardrail_alarms)
    error_message = "both alarms take a deployment back"
  }
}

run "another_model_is_another_configuration" {
  command = plan

  variables {
    model_name = "dr-study-mobilenet-bbbbbbbb"
  }

  assert {
    condition     = !strcontains(run.one_instance_with_guardrails.configuration_name, local.identity)
    error_message = "the new configuration must have a name of its own, to exist beside the old one"
  }
}

run "scaling_leaves_the_configuration_alone" {
  command = plan

  variables {
    initial_instance_count = 2
    autoscaling            = { min_capacity = 2, max_capacity = 6, target_invocations_per_minute = 300 }
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].scalable_dimension == "sagemaker:variant:DesiredInstanceCount" && aws_appautoscaling_target.this[0].max_capacity == 6
    error_message = "instances are scaled"
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.production_variants[0].initial_instance_count == 2
    error_message = "the configuration keeps what it begins with"
  }
}

run "scaling_further_is_no_new_configuration" {
  command = plan

  variables {
    autoscaling = { min_capacity = 1, max_capacity = 9, target_invocations_per_minute = 300 }
  }

  assert {
    condition     = strcontains(run.one_instance_with_guardrails.configuration_name, local.identity)
    error_message = "autoscaling must not replace the configuration"
  }
}

run "a_canary_first" {
  command = plan

  variables {
    initial_instance_count = 4
    guardrails             = { traffic = "canary", step_percent = 25, wait_s = 600 }
  }

  assert {
    condition     = aws_sagemaker_endpoint.this.deployment_config[0].blue_green_update_policy[0].traffic_routing_configuration[0].canary_size[0].value == 25
    error_message = "a quarter of the instances first"
  }
}

run "captured_requests_are_encrypted_in_the_folder_that_is_named" {
  command = plan

  variables {
    data_capture = {
      destination_s3_uri  = "s3://captured/requests"
      sampling_percentage = 5
      kms_key_id          = "arn:aws:kms:us-east-1:123456789012:key/abc"
    }
  }

  assert {
    condition     = [for one in aws_sagemaker_endpoint_configuration.this.data_capture_config[0].capture_options : one.capture_mode] == ["Input", "Output"]
    error_message = "request and answer"
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.data_capture_config[0].kms_key_id == var.data_capture.kms_key_id
    error_message = "with the key that is named"
  }
}

run "an_unknown_type_is_refused" {
  command = plan

  variables {
    instance_type = "m5.xlarge"
  }

  expect_failures = [var.instance_type]
}

run "no_instance_is_refused" {
  command = plan

  variables {
    initial_instance_count = 0
  }

  expect_failures = [var.initial_instance_count]
}

run "beginning_outside_the_capacities_is_refused" {
  command = plan

  variables {
    initial_instance_count = 1
    autoscaling            = { min_capacity = 2, max_capacity = 6, target_invocations_per_minute = 300 }
  }

  expect_failures = [var.autoscaling]
}

run "capacities_the_wrong_way_round_are_refused" {
  command = plan

  variables {
    initial_instance_count = 3
    autoscaling            = { min_capacity = 6, max_capacity = 2, target_invocations_per_minute = 300 }
  }

  expect_failures = [var.autoscaling]
}

run "a_canary_of_one_instance_is_refused" {
  command = plan

  variables {
    guardrails = { traffic = "canary" }
  }

  expect_failures = [var.guardrails]
}

run "an_unknown_way_of_traffic_is_refused" {
  command = plan

  variables {
    guardrails = { traffic = "sideways" }
  }

  expect_failures = [var.guardrails]
}

run "a_key_encrypts_volumes_log_and_captured_requests" {
  command = plan

  variables {
    kms_key_arn  = "arn:aws:kms:us-east-1:123456789012:key/abc"
    data_capture = { destination_s3_uri = "s3://captured/requests", sampling_percentage = 5 }
  }

  assert {
    condition = [aws_sagemaker_endpoint_configuration.this.kms_key_arn, aws_cloudwatch_log_group.this.kms_key_id, aws_sagemaker_endpoint_configuration.this.data_capture_config[0].kms_key_id] == [
      for one in range(3) : var.kms_key_arn
    ]
    error_message = "one key for all"
  }
}

run "disks_of_the_instance_get_no_key" {
  command = plan

  variables {
    instance_type = "ml.m5d.xlarge"
    kms_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/abc"
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.kms_key_arn == null && aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn
    error_message = "SageMaker refuses a key for disks that hardware encrypts"
  }
}

run "an_alias_is_no_key" {
  command = plan

  variables {
    kms_key_arn = "alias/mine"
  }

  expect_failures = [var.kms_key_arn]
}

run "more_than_all_requests_is_refused" {
  command = plan

  variables {
    data_capture = { destination_s3_uri = "s3://captured/requests", sampling_percentage = 101 }
  }

  expect_failures = [var.data_capture]
}

run "a_start_without_time_is_refused" {
  command = plan

  variables {
    startup_timeout_s = 30
  }

  expect_failures = [var.startup_timeout_s]
}

run "cuda_on_a_host_with_its_driver_is_planned" {
  command = plan

  variables {
    instance_type         = "ml.g5.xlarge"
    inference_ami_version = "al2023-ami-sagemaker-inference-gpu-4-1"
    cuda_version          = "13.0"
  }

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.production_variants[0].inference_ami_version == var.inference_ami_version
    error_message = "the driver is the one of the AMI version"
  }
}

run "cuda_on_an_older_driver_is_refused" {
  command = plan

  variables {
    instance_type         = "ml.g5.xlarge"
    inference_ami_version = "al2-ami-sagemaker-inference-gpu-3-1"
    cuda_version          = "13.0"
  }

  expect_failures = [var.cuda_version]
}

run "an_older_cuda_on_the_default_driver_is_planned" {
  command = plan

  variables {
    instance_type = "ml.g4dn.xlarge"
    cuda_version  = "11.8"
  }
}

run "cuda_that_no_longer_knows_the_gpu_is_refused" {
  command = plan

  variables {
    instance_type         = "ml.p3.2xlarge"
    inference_ami_version = "al2023-ami-sagemaker-inference-gpu-4-1"
    cuda_version          = "13.0"
  }

  expect_failures = [var.cuda_version]
}

run "a_driver_for_gpus_without_a_gpu_is_refused" {
  command = plan

  variables {
    inference_ami_version = "al2023-ami-sagemaker-inference-gpu-4-1"
  }

  expect_failures = [var.inference_ami_version]
}

run "an_unknown_ami_version_is_refused" {
  command = plan

  variables {
    instance_type         = "ml.g5.xlarge"
    inference_ami_version = "gpu-9"
  }

  expect_failures = [var.inference_ami_version]
}
