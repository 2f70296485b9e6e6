mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }
}

mock_provider "aws" {
  alias = "elsewhere"

  mock_data "aws_region" {
    defaults = { region = "eu-central-1" }
  }
}

variables {
  name = "drdeploy"
}

run "says_what_it_is_not" {
  command = plan

  assert {
    condition     = strcontains(aws_ecrpublic_repository.this.catalog_data[0].description, "not a medical device")
    error_message = "the gallery must say that this is no medical device"
  }
}

run "there_is_one_region_for_public_images" {
  command = plan

  providers = {
    aws = aws.elsewhere
  }

  expect_failures = [aws_ecrpublic_repository.this]
}

run "an_unknown_architecture_is_refused" {
  command = plan

  variables {
    architectures = ["riscv"]
  }

  expect_failures = [var.architectures]
}
