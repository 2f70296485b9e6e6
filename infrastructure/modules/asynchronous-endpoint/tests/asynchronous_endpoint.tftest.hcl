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
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:archive-topic" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::archive-results" }
  }
  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1:resource/sagemaker/endpoint/archive/variant/AllTraffic:policyName/archive" }
  }
}

variables {
  name                = "archive"
  model_name          = "archive-mobilenet"
  execution_role_name = "archive-execution"
  instance_type       = "ml.m5.xlarge"
  bucket_name         = "archive-results"
}

run "it_scales_to_zero_and_wakes" {
  command = apply

  assert {
    condition     = aws_appautoscaling_target.this.min_capacity == 0 && aws_appautoscaling_target.this.max_capacity == 1
    error_message = "no instance while nothing waits"
  }

  assert {
    condition     = tolist(aws_appautoscaling_policy.backlog.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].dimensions)[0] == { name = "EndpointName", value = "archive" }
    error_message = "the backlog is a metric of the endpoint, not of its variant"
  }

  assert {
    condition     = toset(aws_cloudwatch_metric_alarm.waiting_without_instances.alarm_actions) == toset([aws_appautoscaling_policy.wake.arn])
    error_message = "requests without an instance start one"
  }
}

run "the_role_may_do_what_asynchronous_requests_take_and_no_more" {
  command = apply

  assert {
    condition = { for one in jsondecode(aws_iam_role_policy.this.policy).Statement : one.Sid => one.Resource } == {
      ReadInputs      = ["arn:aws:s3:::archive-results/asynchronous/inputs/*"]
      WriteResults    = ["arn:aws:s3:::archive-results/asynchronous/results/*", "arn:aws:s3:::archive-results/asynchronous/failed/*"]
      NotifyOfResults = ["arn:aws:sns:us-east-1:123456789012:archive-topic", "arn:aws:sns:us-east-1:123456789012:archive-topic"]
    }
    error_message = "inputs, results and topics alone"
  }
}

run "a_key_encrypts_everything_and_the_role_may_use_it_through_s3_and_sns" {
  command = apply

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/abc"
  }

  assert {
    condition     = [aws_sns_topic.this["completed"].kms_master_key_id, aws_cloudwatch_log_group.this.kms_key_id, aws_sagemaker_endpoint_configuration.this.kms_key_arn, aws_sagemaker_endpoint_configuration.this.async_inference_config[0].output_config[0].kms_key_id] == [for one in range(4) : var.kms_key_arn]
    error_message = "one key for all"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[3].Condition.StringEquals["kms:ViaService"] == ["s3.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"]
    error_message = "the key is used through services"
  }
}

run "answers_stay_out_of_notifications_unless_asked" {
  command = plan

  assert {
    condition     = aws_sagemaker_endpoint_configuration.this.async_inference_config[0].output_config[0].notification_config[0].include_inference_response_in == null
    error_message = "a subscriber sees no grade"
  }
}

run "inputs_of_another_bucket" {
  command = apply

  variables {
    input_arns = ["arn:aws:s3:::photographs/incoming/*"]
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this.policy).Statement[0].Resource == ["arn:aws:s3:::photographs/incoming/*"] && output.inputs_uri == null
    error_message = "only the folder that is named is read"
  }
}

run "a_whole_bucket_of_inputs_is_refused" {
  command = plan

  variables {
    input_arns = ["arn:aws:s3:::photographs/*"]
  }

  expect_failures = [var.input_arns]
}

run "an_endpoint_is_not_created_without_instances" {
  command = plan

  variables {
    initial_instance_count = 0
  }

  expect_failures = [var.initial_instance_count]
}

run "capacities_the_wrong_way_round_are_refused" {
  command = plan

  variables {
    autoscaling = { min_capacity = 3, max_capacity = 2 }
  }

  expect_failures = [var.autoscaling]
}

run "too_many_requests_for_an_instance_are_refused" {
  command = plan

  variables {
    max_concurrent_invocations_per_instance = 1001
  }

  expect_failures = [var.max_concurrent_invocations_per_instance]
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
