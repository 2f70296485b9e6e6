variable "name" {
  description = "Name of the endpoint, at most 43 letters, digits and hyphens. The names of its configurations add a digest and a time."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9](-*[a-zA-Z0-9])*$", var.name)) && length(var.name) <= 43
    error_message = "name must be 1 to 43 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "model_name" {
  description = "Name of the model; another name makes a new configuration."
  type        = string
}

variable "model_supports_serverless" {
  description = "Whether the model can be served by a serverless endpoint, which has no VPC and no network isolation: pass the output supports_serverless of the module model."
  type        = bool
  default     = true

  validation {
    condition     = var.model_supports_serverless
    error_message = "model_supports_serverless must be true, because serverless endpoints have no VPC (vpc_config) and no network isolation (network_isolation). Use a model without them, or a realtime endpoint."
  }
}

variable "cuda_version" {
  description = "Version of CUDA that the model's container image was built for; must be null, because serverless endpoints have no GPU."
  type        = string
  default     = null

  validation {
    condition     = var.cuda_version == null
    error_message = "cuda_version must be null, not ${coalesce(var.cuda_version, "null")}: serverless endpoints have no GPU; use an image for CPUs, or a realtime endpoint with a GPU, for example ml.g5.xlarge."
  }
}

variable "memory_mb" {
  description = "Memory in MB: 1024 to 6144 in steps of 1024. The CPU share grows with the memory."
  type        = number

  validation {
    condition     = var.memory_mb >= 1024 && var.memory_mb <= 6144 && var.memory_mb % 1024 == 0
    error_message = "memory_mb must be 1024 to 6144 MB in steps of 1024, not ${var.memory_mb}."
  }
}

variable "max_concurrency" {
  description = "How many requests the endpoint answers at the same time: 1 to 200. Further requests are refused (throttled)."
  type        = number
  default     = 1

  validation {
    condition     = var.max_concurrency >= 1 && var.max_concurrency <= 200 && floor(var.max_concurrency) == var.max_concurrency
    error_message = "max_concurrency must be 1 to 200, not ${var.max_concurrency}."
  }
}

variable "provisioned_concurrency" {
  description = "How many containers are kept warm and paid around the clock: 1 to 200, and at most max_concurrency; null keeps none."
  type        = number
  default     = null

  validation {
    condition     = var.provisioned_concurrency == null ? true : var.provisioned_concurrency >= 1 && var.provisioned_concurrency <= 200 && floor(var.provisioned_concurrency) == var.provisioned_concurrency
    error_message = "provisioned_concurrency must be 1 to 200 or null, not ${coalesce(var.provisioned_concurrency, 0)}."
  }

  validation {
    condition     = var.provisioned_concurrency == null ? true : var.provisioned_concurrency <= var.max_concurrency
    error_message = "provisioned_concurrency must be at most max_concurrency (${var.max_concurrency}), not ${coalesce(var.provisioned_concurrency, 0)}."
  }
}

variable "provisioned_scaling" {
  description = "Changes the provisioned concurrency between min_capacity and max_capacity, by load (target_utilization, 0 to 1) or at set times (schedules). A deployment starts with provisioned_concurrency."
  type = object({
    min_capacity       = number
    max_capacity       = number
    target_utilization = optional(number)
    schedules = optional(map(object({
      schedule     = string
      timezone     = optional(string, "UTC")
      min_capacity = number
      max_capacity = number
    })), {})
  })
  default = null

  validation {
    condition     = var.provisioned_scaling == null || var.provisioned_concurrency != null
    error_message = "provisioned_scaling needs provisioned_concurrency, which is the number that it begins with."
  }

  validation {
    condition     = var.provisioned_scaling == null ? true : var.provisioned_scaling.min_capacity >= 1 && var.provisioned_scaling.min_capacity <= var.provisioned_scaling.max_capacity
    error_message = "provisioned_scaling.min_capacity must be at least 1 and at most max_capacity (${try(var.provisioned_scaling.max_capacity, 0)}), not ${try(var.provisioned_scaling.min_capacity, 0)}."
  }

  validation {
    condition     = var.provisioned_scaling == null ? true : var.provisioned_scaling.max_capacity <= var.max_concurrency
    error_message = "provisioned_scaling.max_capacity must be at most max_concurrency (${var.max_concurrency}), not ${try(var.provisioned_scaling.max_capacity, 0)}."
  }

  validation {
    condition     = try(var.provisioned_scaling.target_utilization, null) == null ? true : var.provisioned_scaling.target_utilization > 0 && var.provisioned_scaling.target_utilization < 1
    error_message = "provisioned_scaling.target_utilization must be between 0 and 1, not ${coalesce(try(var.provisioned_scaling.target_utilization, null), 0)}."
  }

  validation {
    condition     = var.provisioned_scaling == null ? true : var.provisioned_scaling.target_utilization != null || length(var.provisioned_scaling.schedules) > 0
    error_message = "provisioned_scaling must have a target_utilization or at least 1 of schedules."
  }

  validation {
    condition     = alltrue([for one in values(try(var.provisioned_scaling.schedules, {})) : can(regex("^(cron|rate|at)\\(.+\\)$", one.schedule))])
    error_message = "provisioned_scaling.schedules must each have a schedule of the form cron(…), rate(…) or at(…)."
  }

  validation {
    condition     = alltrue([for one in values(try(var.provisioned_scaling.schedules, {})) : one.min_capacity >= 1 && one.min_capacity <= one.max_capacity && one.max_capacity <= var.max_concurrency])
    error_message = "provisioned_scaling.schedules must each have 1 <= min_capacity <= max_capacity <= max_concurrency (${var.max_concurrency})."
  }
}

variable "log_retention_days" {
  description = "How long the endpoint's log is kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch offers (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, … 3653), not ${var.log_retention_days}."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the log. The key's policy must let CloudWatch Logs use it (modules/encryption-key). With null, CloudWatch uses its own key."
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
