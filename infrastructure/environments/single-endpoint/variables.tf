# One tfvars.json describes one endpoint.  `drdeploy endpoint deploy --target aws|local` writes it;
# by hand, start from example.tfvars.json.

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of an AWS region, for example us-east-1, not \"${var.region}\"."
  }
}

variable "name_prefix" {
  description = "Begins every name: 2 to 20 lower-case letters, digits and hyphens, a letter first."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "tags" {
  description = "Of every resource; costs can be told apart by them."
  type        = map(string)
  default     = {}
}

variable "bucket_name" {
  description = "Of the bucket for model archives; null makes NAME_PREFIX-artifacts-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes the archives and images.  Both can be built again."
  type        = bool
  default     = true
}

variable "model" {
  description = "The model; null creates only bucket, repository and role, so that image and archive can be uploaded first."
  type = object({
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
  })
  default = null
}

variable "endpoint" {
  description = "The endpoint, named NAME_PREFIX.  `kind` is serverless (memory_mb, max_concurrency, provisioned_concurrency, provisioned_scaling) or realtime (instance_type, initial_instance_count, autoscaling, guardrails, data_capture, kms_key_arn)."
  type = object({
    kind = string

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
  })
  default = null

  validation {
    condition     = var.endpoint == null || var.model != null
    error_message = "endpoint needs a model; model must not be null."
  }

  validation {
    condition     = var.endpoint == null ? true : contains(["serverless", "realtime"], var.endpoint.kind)
    error_message = "endpoint.kind must be serverless or realtime, not \"${try(var.endpoint.kind, "")}\"."
  }

  validation {
    condition     = try(var.endpoint.kind, "") != "serverless" ? true : var.endpoint.memory_mb != null
    error_message = "endpoint.memory_mb must be given for kind serverless (1024 to 6144 in steps of 1024)."
  }

  validation {
    condition     = try(var.endpoint.kind, "") != "realtime" ? true : var.endpoint.instance_type != null
    error_message = "endpoint.instance_type must be given for kind realtime."
  }

  validation {
    condition = try(var.endpoint.kind, "") != "serverless" ? true : alltrue([
      var.endpoint.instance_type == null,
      var.endpoint.initial_instance_count == null,
      var.endpoint.kms_key_arn == null,
      var.endpoint.autoscaling == null,
      var.endpoint.guardrails == null,
      var.endpoint.data_capture == null,
    ])
    error_message = "endpoint of kind serverless cannot have instance_type, initial_instance_count, kms_key_arn, autoscaling, guardrails or data_capture; these are for realtime."
  }

  validation {
    condition = try(var.endpoint.kind, "") != "realtime" ? true : alltrue([
      var.endpoint.memory_mb == null,
      var.endpoint.max_concurrency == null,
      var.endpoint.provisioned_concurrency == null,
      var.endpoint.provisioned_scaling == null,
    ])
    error_message = "endpoint of kind realtime cannot have memory_mb, max_concurrency, provisioned_concurrency or provisioned_scaling; these are for serverless."
  }
}

variable "allow_always_on" {
  description = "Must be true where an endpoint costs money without requests: real-time instances and provisioned concurrency."
  type        = bool
  default     = false

  validation {
    condition     = var.allow_always_on || var.endpoint == null ? true : var.endpoint.kind == "serverless" && var.endpoint.provisioned_concurrency == null
    error_message = "allow_always_on must be true: the endpoint would be paid around the clock (kind realtime, or provisioned_concurrency)."
  }
}

variable "log_retention_days" {
  description = "How long the endpoint's log is kept, in days."
  type        = number
  default     = 30
}

variable "create_alarms" {
  description = "Whether the endpoint gets alarms for latency, errors and setup time; each costs about 0.10 USD a month."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "Told of alarms and of the budget; null tells nobody."
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "Budget of what carries the endpoint's tag; null makes none."
  type        = number
  default     = null
}
