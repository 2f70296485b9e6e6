variable "bucket_name" {
  description = "Name of the bucket, globally unique: 3 to 63 lower-case letters, digits and hyphens."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name must be 3 to 63 lower-case letters, digits and hyphens, not \"${var.bucket_name}\"."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes the bucket even if it is not empty."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "How long an archive is kept after it was overwritten or deleted, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days must be a whole number of at least 1, not ${var.noncurrent_days}."
  }
}

variable "capture_prefix" {
  description = "Folder of the bucket to which captured requests are written."
  type        = string
  default     = "captured/"

  validation {
    condition     = can(regex("^[^*?/][^*?]*/$", var.capture_prefix))
    error_message = "capture_prefix must be a folder that ends with a slash, without wildcards, not \"${var.capture_prefix}\"."
  }
}

variable "capture_retention_days" {
  description = "How many days captured requests are kept. S3 counts whole days and hides an object before it deletes it, so the deletion comes one to three days later. With null, they are kept forever."
  type        = number
  default     = 30

  validation {
    condition     = var.capture_retention_days == null ? true : var.capture_retention_days >= 1 && floor(var.capture_retention_days) == var.capture_retention_days
    error_message = "capture_retention_days must be a whole number of at least 1, or null to keep captured requests forever, not ${coalesce(var.capture_retention_days, 0)}."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts archives and captured requests. With null, S3 uses its own keys, which cost nothing."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not \"${coalesce(var.kms_key_arn, "null")}\"."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
