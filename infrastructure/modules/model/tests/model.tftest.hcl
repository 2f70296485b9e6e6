mock_provider "aws" {}

variables {
  name               = "dr-study-mobilenet"
  image_uri          = "123456789012.dkr.ecr.us-east-1.amazonaws.com/dr-study/drdeploy@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  model_data_url     = "s3://dr-study-artifacts/artifacts/bbbbbbbbbbbbbbbb/mobilenet.tar.gz"
  model_data_sha256  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  execution_role_arn = "arn:aws:iam::123456789012:role/dr-study-execution"
}

run "is_named_after_what_it_is_made_of" {
  command = apply

  assert {
    condition     = can(regex("^dr-study-mobilenet-[0-9a-f]{6}-[0-9]{12}$", output.model_name))
    error_message = "a digest follows the name, not ${output.model_name}"
  }

  assert {
    condition     = output.supports_serverless
    error_message = "a model without VPC and isolation is for every endpoint"
  }
}

run "another_image_is_another_model" {
  command = plan

  variables {
    image_uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/dr-study/drdeploy@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
  }

  assert {
    condition     = !strcontains(run.is_named_after_what_it_is_made_of.model_name, local.identity)
    error_message = "the name must change with the image"
  }
}

run "the_version_is_kept_as_a_tag" {
  command = plan

  variables {
    model_data_version_id = "3HL4kqtJlcpXroDTDmjVBH40Nrjfkd"
  }

  assert {
    condition     = aws_sagemaker_model.this.tags["drdeploy:model-data-version"] == "3HL4kqtJlcpXroDTDmjVBH40Nrjfkd"
    error_message = "the version must stand in the tags"
  }
}

run "a_plan_without_changes_keeps_the_name" {
  command = plan

  assert {
    condition     = output.model_name == run.is_named_after_what_it_is_made_of.model_name
    error_message = "a plan without changes must not make a new name"
  }
}

run "another_environment_is_another_model" {
  command = plan

  variables {
    environment = { MODEL_SERVER_WORKERS = "2" }
  }

  assert {
    condition     = !strcontains(run.is_named_after_what_it_is_made_of.model_name, local.identity)
    error_message = "the name must change with the environment"
  }
}

run "a_model_in_a_vpc_is_not_for_serverless" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
  }

  assert {
    condition     = !output.supports_serverless && length(aws_sagemaker_model.this.vpc_config) == 1
    error_message = "the model must say so"
  }
}

run "a_tag_is_no_digest" {
  command = plan

  variables {
    image_uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/dr-study/drdeploy:latest"
  }

  expect_failures = [var.image_uri]
}

run "an_archive_under_another_digest_is_refused" {
  command = plan

  variables {
    model_data_url = "s3://dr-study-artifacts/artifacts/mobilenet.tar.gz"
  }

  expect_failures = [var.model_data_url]
}

run "an_archive_without_digest_is_refused" {
  command = plan

  variables {
    model_data_sha256 = ""
  }

  expect_failures = [var.model_data_sha256]
}

run "a_name_that_no_shell_takes_is_refused" {
  command = plan

  variables {
    environment = { "2ND" = "x" }
  }

  expect_failures = [var.environment]
}

run "no_subnet_is_refused" {
  command = plan

  variables {
    vpc_config = { subnet_ids = [], security_group_ids = ["sg-1"] }
  }

  expect_failures = [var.vpc_config]
}

run "a_user_is_no_role" {
  command = plan

  variables {
    execution_role_arn = "arn:aws:iam::123456789012:user/me"
  }

  expect_failures = [var.execution_role_arn]
}
