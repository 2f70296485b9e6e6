variable "name" {
  description = "Prefix of the model's name, at most 43 letters, digits and hyphens. A digest and a time are added to it."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9](-*[a-zA-Z0-9])*$", var.name)) && length(var.name) <= 43
    error_message = "name must be 1 to 43 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "image_uri" {
  description = "Container image, named by digest: REPOSITORY@sha256:DIGEST."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@sha256:[0-9a-f]{64}$", var.image_uri))
    error_message = "image_uri must name the image by digest (REPOSITORY@sha256: and 64 hexadecimal digits), so that what is served never changes silently; not \"${var.image_uri}\"."
  }
}

variable "model_data_sha256" {
  description = "SHA-256 of model.tar.gz."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.model_data_sha256))
    error_message = "model_data_sha256 must be the archive's SHA-256, 64 hexadecimal digits, not \"${var.model_data_sha256}\"."
  }
}

variable "model_data_url" {
  description = "s3:// address of model.tar.gz, in a folder named by the first 16 digits of its SHA-256."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9][a-z0-9.-]+/.+\\.tar\\.gz$", var.model_data_url))
    error_message = "model_data_url must be s3://BUCKET/KEY.tar.gz, not \"${var.model_data_url}\"."
  }

  validation {
    condition     = strcontains(var.model_data_url, "/${substr(var.model_data_sha256, 0, 16)}/")
    error_message = "model_data_url must contain the folder /${substr(var.model_data_sha256, 0, 16)}/ (the first 16 digits of model_data_sha256), so that what is served never changes silently; not \"${var.model_data_url}\"."
  }
}

variable "model_data_version_id" {
  description = "Version of the archive in S3, or null. It is only written to a tag, because the digest in model_data_url already identifies what is served."
  type        = string
  default     = null
}

variable "environment" {
  description = "Environment variables of the container: names as in a shell, values of at most 1024 characters, at most 100 of them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.environment) <= 100
    error_message = "environment must have at most 100 variables, not ${length(var.environment)}."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[a-zA-Z_][a-zA-Z0-9_]*$", name))])
    error_message = "environment must have names of letters, digits and underscores, not beginning with a digit; not ${join(", ", keys(var.environment))}."
  }

  validation {
    condition     = alltrue([for value in values(var.environment) : length(value) <= 1024])
    error_message = "environment must have values of at most 1024 characters."
  }
}

variable "execution_role_arn" {
  description = "ARN of the role that SageMaker assumes to read the container image and the archive."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", var.execution_role_arn))
    error_message = "execution_role_arn must be the ARN of a role (arn:aws:iam::ACCOUNT:role/NAME), not \"${var.execution_role_arn}\"."
  }
}

variable "vpc_config" {
  description = "Subnets and security groups of the containers; not for serverless endpoints."
  type = object({
    subnet_ids         = set(string)
    security_group_ids = set(string)
  })
  default = null

  validation {
    condition     = var.vpc_config == null || try(length(var.vpc_config.subnet_ids) >= 1 && length(var.vpc_config.subnet_ids) <= 16, false)
    error_message = "vpc_config must name 1 to 16 subnet_ids."
  }

  validation {
    condition     = var.vpc_config == null || try(length(var.vpc_config.security_group_ids) >= 1 && length(var.vpc_config.security_group_ids) <= 5, false)
    error_message = "vpc_config must name 1 to 5 security_group_ids."
  }
}

variable "network_isolation" {
  description = "Whether the container has no network access at all. Serverless endpoints do not offer network isolation."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
