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

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::dr-study-artifacts-123456789012-us-east-1" }
  }

  mock_resource "aws_ecr_repository" {
    defaults = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/dr-study/drdeploy" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/dr-study-execution-us-east-1" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:dr-study-topic" }
  }

  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1:resource/sagemaker/endpoint/dr-study-queue/variant/AllTraffic:policyName/dr-study-queue" }
  }
}

variables {
  name_prefix     = "dr-study"
  budget_tag      = { key = "drdeploy:study", value = "dr-study" }
  allow_always_on = true
  models = {
    mobilenet = {
      image_uri         = "123456789012.dkr.ecr.us-east-1.amazonaws.com/dr-study/drdeploy@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      model_data_url    = "s3://dr-study-artifacts/artifacts/cccccccccccccccc/model.tar.gz"
      model_data_sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
    }
  }
  endpoints = {
    small = { model = "mobilenet", kind = "serverless", memory_mb = 2048 }
    big   = { model = "mobilenet", kind = "realtime", instance_type = "ml.m5.xlarge" }
    named = { model = "mobilenet", kind = "serverless", memory_mb = 1024, name = "dr-study" }
  }
}

run "without_models_there_is_what_uploads_need" {
  command = apply

  variables {
    models    = {}
    endpoints = {}
  }

  assert {
    condition     = local.bucket_name == "dr-study-artifacts-123456789012-us-east-1" && toset(keys(output.repository_urls)) == toset(["drdeploy"])
    error_message = "the bucket and the repository must exist before a model can name what they hold"
  }

  assert {
    condition     = length(output.models) == 0 && length(output.endpoints) == 0 && length(module.observability) == 0
    error_message = "nothing is hosted, so nothing is watched"
  }
}

run "each_endpoint_is_of_its_kind" {
  command = apply

  assert {
    condition     = tomap({ for key, one in output.endpoints : key => one.endpoint_name }) == tomap({ small = "dr-study-small", big = "dr-study-big", named = "dr-study" })
    error_message = "an endpoint is named by prefix and key, unless it has a name"
  }

  assert {
    condition     = toset(keys(module.serverless_endpoint)) == toset(["named", "small"]) && toset(keys(module.realtime_endpoint)) == toset(["big"])
    error_message = "the kind decides which module makes it"
  }
}

run "two_endpoints_of_one_model_serve_the_same_model" {
  command = apply

  assert {
    condition     = length(distinct([for one in values(output.endpoints) : one.model_name])) == 1 && length(output.models) == 1
    error_message = "a model is made once"
  }
}

run "one_key_reaches_all_that_is_stored" {
  command = apply

  variables {
    kms_key_arn              = "arn:aws:kms:us-east-1:123456789012:key/abc"
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/dr-study-boundary-us-east-1"
    alarm_email              = "clinic@example.org"
    endpoints = {
      small = { model = "mobilenet", kind = "serverless", memory_mb = 2048 }
      big   = { model = "mobilenet", kind = "realtime", instance_type = "ml.m5.xlarge", data_capture = { sampling_percentage = 5 } }
    }
  }

  assert {
    condition     = [for key, one in local.captures : "${key} ${one.destination_s3_uri}"] == ["big s3://dr-study-artifacts-123456789012-us-east-1/captured/dr-study-big"]
    error_message = "captured requests go where they expire"
  }

  assert {
    condition     = [for one in jsondecode(module.execution_role.policy_json).Statement : one.Resource if contains(["UseKeysThroughS3", "WriteCapturedRequests"], one.Sid)] == [[var.kms_key_arn], ["arn:aws:s3:::dr-study-artifacts-123456789012-us-east-1/captured/dr-study-big/*"]]
    error_message = "the role may use the key, and write where requests are captured"
  }
}

run "captured_requests_elsewhere_are_refused_where_they_should_expire" {
  command = plan

  variables {
    endpoints = { big = { model = "mobilenet", kind = "realtime", instance_type = "ml.m5.xlarge", data_capture = { destination_s3_uri = "s3://elsewhere/captured", sampling_percentage = 5 } } }
  }

  expect_failures = [var.endpoints]
}

run "captured_requests_elsewhere_are_ones_own_to_expire" {
  command = plan

  variables {
    capture_retention_days = null
    endpoints              = { big = { model = "mobilenet", kind = "realtime", instance_type = "ml.m5.xlarge", data_capture = { destination_s3_uri = "s3://elsewhere/captured", sampling_percentage = 5 } } }
  }

  assert {
    condition     = local.captures["big"].destination_s3_uri == "s3://elsewhere/captured"
    error_message = "as it was asked for"
  }
}

run "a_bucket_of_another_prefix_is_refused" {
  command = plan

  variables {
    bucket_name = "dr-study2-artifacts"
  }

  expect_failures = [var.bucket_name]
}

run "an_endpoint_of_another_prefix_is_refused" {
  command = plan

  variables {
    endpoints = { odd = { model = "mobilenet", kind = "serverless", memory_mb = 1024, name = "dr-study2" } }
  }

  expect_failures = [var.endpoints]
}

run "what_is_always_on_must_be_allowed" {
  command = plan

  variables {
    allow_always_on = false
  }

  expect_failures = [var.allow_always_on]
}

run "an_endpoint_of_an_unknown_model_is_refused" {
  command = plan

  variables {
    endpoints = { odd = { model = "vgg19", kind = "serverless", memory_mb = 1024 } }
  }

  expect_failures = [var.endpoints]
}

run "a_serverless_endpoint_has_no_instances" {
  command = plan

  variables {
    endpoints = { odd = { model = "mobilenet", kind = "serverless", memory_mb = 1024, instance_type = "ml.m5.xlarge" } }
  }

  expect_failures = [var.endpoints]
}

run "a_name_that_is_too_long_is_refused" {
  command = plan

  variables {
    endpoints = { odd = { model = "mobilenet", kind = "serverless", memory_mb = 1024, name = "a-name-that-leaves-no-room-for-digest-and-time" } }
  }

  expect_failures = [var.endpoints]
}

run "an_asynchronous_endpoint_has_its_bucket_and_no_instance_without_work" {
  command = apply

  variables {
    allow_always_on = false
    alarm_email     = "clinic@example.org"
    endpoints       = { queue = { model = "mobilenet", kind = "asynchronous", instance_type = "ml.m5.xlarge", autoscaling = { min_capacity = 0, max_capacity = 3, target_backlog_per_instance = 20 } } }
  }

  assert {
    condition     = local.results_buckets["queue"] == "dr-study-results-${substr(sha256("queue"), 0, 4)}-123456789012-us-east-1" && length(output.endpoints["queue"].topic_arns) == 2
    error_message = "inputs and results have a bucket of the deployment, and the outputs name it"
  }

  assert {
    condition     = length(module.asynchronous_endpoint["queue"].alarm_names) == 3
    error_message = "the module is the one that scales from zero"
  }
}

run "an_asynchronous_endpoint_that_never_sleeps_must_be_allowed" {
  command = plan

  variables {
    allow_always_on = false
    endpoints       = { queue = { model = "mobilenet", kind = "asynchronous", instance_type = "ml.m5.xlarge", autoscaling = { min_capacity = 1, max_capacity = 3 } } }
  }

  expect_failures = [var.allow_always_on]
}

run "a_backlog_is_for_queues_and_invocations_are_for_real_time" {
  command = plan

  variables {
    endpoints = { big = { model = "mobilenet", kind = "realtime", instance_type = "ml.m5.xlarge", autoscaling = { min_capacity = 1, max_capacity = 3, target_backlog_per_instance = 5 } } }
  }

  expect_failures = [var.endpoints]
}
