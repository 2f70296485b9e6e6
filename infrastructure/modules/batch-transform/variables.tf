variable "name" {
  description = "Name of the role, at most 64 letters, digits and hyphens."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "bucket_name" {
  description = "Name of the bucket that the module makes for archives (artifacts/), and for uploaded photographs and answers (batch/)."
  type        = string
}

variable "repository_arns" {
  description = "ARNs of the repositories from which container images are pulled."
  type        = set(string)

  validation {
    condition     = length(var.repository_arns) >= 1 && alltrue([for arn in var.repository_arns : can(regex("^arn:[a-z-]+:ecr:[a-z0-9-]+:[0-9]{12}:repository/[a-z0-9/_.-]+$", arn))])
    error_message = "repository_arns must name at least 1 repository, each exactly (arn:aws:ecr:REGION:ACCOUNT:repository/NAME, no wildcard), not ${join(", ", var.repository_arns)}."
  }
}

variable "input_arns" {
  description = "Further folders that jobs read, in this account's buckets, each as arn:aws:s3:::BUCKET/FOLDER/*."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.input_arns : can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+/[^*]+/\\*$", arn))])
    error_message = "input_arns must be folders of a bucket (arn:aws:s3:::BUCKET/FOLDER/*), not ${join(", ", var.input_arns)}."
  }
}

variable "retention_days" {
  description = "How long photographs and answers in the bucket are kept, in days; null keeps them forever."
  type        = number
  default     = 30
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes the bucket even if it is not empty."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts archives, photographs and answers. With null, S3 uses its own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not \"${coalesce(var.kms_key_arn, "null")}\"."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary, a policy that limits what the role can ever do; null sets no limit."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy (arn:aws:iam::ACCOUNT:policy/NAME), not \"${coalesce(var.permissions_boundary_arn, "null")}\"."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
