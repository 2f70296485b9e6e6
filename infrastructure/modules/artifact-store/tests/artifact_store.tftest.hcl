mock_provider "aws" {}

variables {
  bucket_name = "dr-study-artifacts"
}

run "versioned_encrypted_and_private" {
  command = apply

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "old versions must be kept"
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "archives must be encrypted"
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "nothing may become public"
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "unencrypted connections must be denied"
  }

  assert {
    condition     = !aws_s3_bucket.this.force_destroy
    error_message = "archives must outlive a mistaken destroy"
  }
}

run "old_versions_expire" {
  command = plan

  variables {
    noncurrent_days = 7
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].noncurrent_version_expiration[0].noncurrent_days == 7
    error_message = "noncurrent_days must be what lifecycle says"
  }
}

run "captured_requests_expire_within_a_month" {
  command = plan

  assert {
    condition = [for one in aws_s3_bucket_lifecycle_configuration.this.rule : [one.filter[0].prefix, one.expiration[0].days, one.noncurrent_version_expiration[0].noncurrent_days] if one.id == "captured-requests"] == [
      ["captured/", 30, 1]
    ]
    error_message = "photographs of patients must not be kept forever, nor as old versions"
  }
}

run "captured_requests_expire_when_asked" {
  command = plan

  variables {
    capture_retention_days = 7
  }

  assert {
    condition     = [for one in aws_s3_bucket_lifecycle_configuration.this.rule : one.expiration[0].days if one.id == "captured-requests"] == [7]
    error_message = "capture_retention_days must be what lifecycle says"
  }
}

run "captured_requests_are_kept_when_asked" {
  command = plan

  variables {
    capture_retention_days = null
  }

  assert {
    condition     = [for one in aws_s3_bucket_lifecycle_configuration.this.rule : one.id] == ["old-versions-and-broken-uploads"]
    error_message = "null keeps them"
  }
}

run "captured_requests_of_no_day_are_refused" {
  command = plan

  variables {
    capture_retention_days = 0
  }

  expect_failures = [var.capture_retention_days]
}

run "a_key_of_ones_own" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/abc"
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"
    error_message = "the key must be used"
  }
}

run "a_name_with_capitals_is_refused" {
  command = plan

  variables {
    bucket_name = "DR-Study"
  }

  expect_failures = [var.bucket_name]
}

run "an_alias_is_no_key" {
  command = plan

  variables {
    kms_key_arn = "alias/mine"
  }

  expect_failures = [var.kms_key_arn]
}

run "no_days_are_refused" {
  command = plan

  variables {
    noncurrent_days = 0
  }

  expect_failures = [var.noncurrent_days]
}
