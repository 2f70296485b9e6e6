variable "name_prefix" {
  description = "What every name begins with: 2 to 20 lower-case letters, digits and hyphens, a letter first."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "bucket_name" {
  description = "Name of the bucket for model archives; null names it NAME_PREFIX-artifacts-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "repositories" {
  description = "Image repositories to create, named NAME_PREFIX/REPOSITORY."
  type        = set(string)
  default     = ["drdeploy"]
}

variable "force_destroy" {
  description = "Whether destroying the deployment also deletes the archives and images."
  type        = bool
  default     = false
}

variable "models" {
  description = "Models by key: image_uri (by digest), model_data_url and model_data_sha256; where needed, model_data_version_id, environment, network_isolation and vpc_config.  A model is named NAME_PREFIX-KEY unless it has a name."
  type = map(object({
    name                  = optional(string)
    image_uri             = string
    model_data_url        = string
    model_data_sha256     = string
    model_data_version_id = optional(string)
    environment           = optional(map(string), {})
    network_isolation     = optional(bool, false)
    vpc_config = optional(object({
      subnet_ids         = set(string)
      security_group_ids = set(string)
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.models) : can(regex("^[a-z0-9](-*[a-z0-9])*$", key))])
    error_message = "models must have keys of lower-case letters, digits and hyphens, not ${join(", ", keys(var.models))}."
  }

  validation {
    condition     = length(var.models) == 0 || length(var.repositories) > 0
    error_message = "models need at least 1 of repositories, which the execution role pulls images from."
  }
}

variable "endpoints" {
  description = "Endpoints by key: model (a key of models) and kind, which is serverless (memory_mb, max_concurrency, provisioned_concurrency, provisioned_scaling) or realtime (instance_type, initial_instance_count, autoscaling, guardrails, data_capture, kms_key_arn).  An endpoint is named NAME_PREFIX-KEY unless it has a name."
  type = map(object({
    name  = optional(string)
    model = string
    kind  = string

    memory_mb               = optional(number)
    max_concurrency         = optional(number)
    provisioned_concurrency = optional(number)
    provisioned_scaling = optional(object({
      min_capacity       = number
      max_capacity       = number
      target_utilization = optional(number)
      schedules = optional(map(object({
        schedule     = string
        timezone     = optional(string, "UTC")
        min_capacity = number
        max_capacity = number
      })), {})
    }))

    instance_type          = optional(string)
    initial_instance_count = optional(number)
    kms_key_arn            = optional(string)
    autoscaling = optional(object({
      min_capacity                  = number
      max_capacity                  = number
      target_invocations_per_minute = number
      scale_in_cooldown_s           = optional(number, 300)
      scale_out_cooldown_s          = optional(number, 60)
    }))
    guardrails = optional(object({
      traffic            = optional(string, "all-at-once")
      step_percent       = optional(number, 10)
      wait_s             = optional(number, 300)
      termination_wait_s = optional(number, 300)
      max_error_percent  = optional(number, 5)
      max_latency_ms     = optional(number, 10000)
    }))
    data_capture = optional(object({
      destination_s3_uri  = string
      sampling_percentage = number
      kms_key_id          = optional(string)
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.endpoints) : can(regex("^[a-z0-9](-*[a-z0-9])*$", key))])
    error_message = "endpoints must have keys of lower-case letters, digits and hyphens, not ${join(", ", keys(var.endpoints))}."
  }

  validation {
    condition     = alltrue([for key, one in var.endpoints : length(coalesce(one.name, "${var.name_prefix}-${key}")) <= 43])
    error_message = "endpoints must have names (NAME_PREFIX-KEY) of at most 43 characters; too long: ${join(", ", [for key, one in var.endpoints : key if length(coalesce(one.name, "${var.name_prefix}-${key}")) > 43])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : contains(["serverless", "realtime"], one.kind)])
    error_message = "endpoints must each have the kind serverless or realtime, not ${join(", ", distinct([for one in values(var.endpoints) : one.kind]))}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : contains(keys(var.models), one.model)])
    error_message = "endpoints must each name a model of models (${join(", ", keys(var.models))}); unknown: ${join(", ", distinct([for one in values(var.endpoints) : one.model if !contains(keys(var.models), one.model)]))}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "serverless" || one.memory_mb != null])
    error_message = "endpoints of kind serverless must have memory_mb (1024 to 6144 in steps of 1024); missing in ${join(", ", [for key, one in var.endpoints : key if one.kind == "serverless" && one.memory_mb == null])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "realtime" || one.instance_type != null])
    error_message = "endpoints of kind realtime must have instance_type; missing in ${join(", ", [for key, one in var.endpoints : key if one.kind == "realtime" && one.instance_type == null])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "serverless" || alltrue([for name in ["instance_type", "initial_instance_count", "kms_key_arn", "autoscaling", "guardrails", "data_capture"] : one[name] == null])])
    error_message = "endpoints of kind serverless cannot have instance_type, initial_instance_count, kms_key_arn, autoscaling, guardrails or data_capture; these are for realtime: ${join(", ", [for key, one in var.endpoints : key if one.kind == "serverless"])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "realtime" || alltrue([for name in ["memory_mb", "max_concurrency", "provisioned_concurrency", "provisioned_scaling"] : one[name] == null])])
    error_message = "endpoints of kind realtime cannot have memory_mb, max_concurrency, provisioned_concurrency or provisioned_scaling; these are for serverless: ${join(", ", [for key, one in var.endpoints : key if one.kind == "realtime"])}."
  }

  validation {
    condition     = length([for one in values(var.endpoints) : one if one.kind == "serverless"]) <= 50
    error_message = "endpoints must be at most 50 of kind serverless (SageMaker's quota of a region), not ${length([for one in values(var.endpoints) : one if one.kind == "serverless"])}."
  }
}

variable "allow_always_on" {
  description = "Must be true where an endpoint costs money without requests: real-time instances and provisioned concurrency."
  type        = bool
  default     = false

  validation {
    condition     = var.allow_always_on || alltrue([for one in values(var.endpoints) : one.kind == "serverless" && one.provisioned_concurrency == null])
    error_message = "allow_always_on must be true: ${join(", ", [for key, one in var.endpoints : key if one.kind != "serverless" || one.provisioned_concurrency != null])} would be paid around the clock (kind realtime, or provisioned_concurrency)."
  }
}

variable "log_retention_days" {
  description = "How long the endpoints' logs are kept, in days."
  type        = number
  default     = 30
}

variable "create_alarms" {
  description = "Whether every endpoint gets alarms for latency, errors and setup time; each costs about 0.10 USD a month."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "Address that alarms and the budget are mailed to; null sends no mail."
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "Monthly budget of everything that carries budget_tag; null makes no budget."
  type        = number
  default     = null
}

variable "budget_tag" {
  description = "Key and value of the cost-allocation tag that the budget counts."
  type = object({
    key   = string
    value = string
  })
}
