variable "name" {
  description = "Name of the role, at most 64 letters, digits and hyphens."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "bucket_arns" {
  description = "ARNs of the buckets from which archives are read. The buckets must belong to this account."
  type        = set(string)

  validation {
    condition     = length(var.bucket_arns) >= 1 && alltrue([for arn in var.bucket_arns : can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", arn))])
    error_message = "bucket_arns must name at least 1 bucket, each exactly (arn:aws:s3:::BUCKET, no wildcard), not ${join(", ", var.bucket_arns)}."
  }
}

variable "artifact_prefix" {
  description = "Folder in these buckets from which archives are read."
  type        = string
  default     = "artifacts/"

  validation {
    condition     = can(regex("^[^*?/][^*?]*/$", var.artifact_prefix))
    error_message = "artifact_prefix must be a folder that ends with a slash, without wildcards, not \"${var.artifact_prefix}\"."
  }
}

variable "repository_arns" {
  description = "ARNs of the repositories from which container images are pulled."
  type        = set(string)

  validation {
    condition     = length(var.repository_arns) >= 1 && alltrue([for arn in var.repository_arns : can(regex("^arn:[a-z-]+:ecr:[a-z0-9-]+:[0-9]{12}:repository/[a-z0-9/_.-]+$", arn))])
    error_message = "repository_arns must name at least 1 repository, each exactly (arn:aws:ecr:REGION:ACCOUNT:repository/NAME, no wildcard), not ${join(", ", var.repository_arns)}."
  }
}

variable "endpoint_name_prefix" {
  description = "Name of the endpoints whose logs the role may write: the endpoint with this name, and all endpoints whose names begin with this name and a hyphen."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9-]*$", var.endpoint_name_prefix))
    error_message = "endpoint_name_prefix must be letters, digits and hyphens, not \"${var.endpoint_name_prefix}\"."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the keys that encrypt archives and captured requests."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", arn))])
    error_message = "kms_key_arns must name keys, each exactly (arn:aws:kms:REGION:ACCOUNT:key/ID, no wildcard), not ${join(", ", var.kms_key_arns)}."
  }
}

variable "capture_arns" {
  description = "ARNs of the folders to which captured requests may be written: arn:aws:s3:::BUCKET/FOLDER/*."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.capture_arns : can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+/[^*]+/\\*$", arn))])
    error_message = "capture_arns must be folders of a bucket (arn:aws:s3:::BUCKET/FOLDER/*), not ${join(", ", var.capture_arns)}."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary, a policy that limits what the role can ever do (output boundary_arn of modules/deployer-policy); null sets no limit."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy (arn:aws:iam::ACCOUNT:policy/NAME), not \"${coalesce(var.permissions_boundary_arn, "null")}\"."
  }
}

variable "in_vpc" {
  description = "Whether containers run in a VPC, for which SageMaker creates network interfaces."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
