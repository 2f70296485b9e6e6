mock_provider "aws" {}

variables {
  name = "dr-study/drdeploy"
}

run "immutable_and_scanned" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE"
    error_message = "a tag must mean one image forever"
  }

  assert {
    condition     = aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "images must be scanned"
  }

  assert {
    condition     = !aws_ecr_repository.this.force_delete
    error_message = "images must outlive a mistaken destroy"
  }
}

run "only_the_oldest_beyond_the_number_expire" {
  command = plan

  variables {
    keep_images = 7
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.this.policy).rules : rule.selection] == [{ tagStatus = "any", countType = "imageCountMoreThan", countNumber = 7 }]
    error_message = "an untagged image may be in use: only the count may expire images"
  }
}

run "a_key_of_ones_own" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/abc"
  }

  assert {
    condition     = aws_ecr_repository.this.encryption_configuration[0].encryption_type == "KMS"
    error_message = "the key must be used"
  }
}

run "a_name_with_capitals_is_refused" {
  command = plan

  variables {
    name = "DrDeploy"
  }

  expect_failures = [var.name]
}

run "keeping_nothing_is_refused" {
  command = plan

  variables {
    keep_images = 0
  }

  expect_failures = [var.keep_images]
}
