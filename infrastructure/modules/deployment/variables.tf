variable "name_prefix" {
  description = "Prefix of all resource names: 2 to 20 lower-case letters, digits and hyphens, a letter first."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "bucket_name" {
  description = "Name of the bucket for model archives. The name must begin with NAME_PREFIX-. With null, the name is NAME_PREFIX-artifacts-ACCOUNT-REGION."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null || startswith(coalesce(var.bucket_name, "-"), "${var.name_prefix}-")
    error_message = "bucket_name must begin with ${var.name_prefix}-, because the deployer may use no other bucket; not \"${coalesce(var.bucket_name, "null")}\"."
  }
}

variable "repositories" {
  description = "Repositories for container images. Each is created with the name NAME_PREFIX/REPOSITORY."
  type        = set(string)
  default     = ["drdeploy"]
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the buckets, the repositories, logs, alarm messages, the instances' volumes and captured requests (modules/encryption-key makes such a key). With null, AWS's services use their own keys. The key of a repository cannot be changed later."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary, a policy that limits what the execution role can ever do (output boundary_arn of modules/deployer-policy); null sets no limit.  A deployer with the policies of modules/deployer-policy can create roles only with this boundary."
  type        = string
  default     = null
}

variable "capture_retention_days" {
  description = "Number of days for which captured requests are kept in the deployment's bucket, and inputs, results and failures in the buckets of asynchronous endpoints. They are photographs and grades of patients. With null, they are kept forever."
  type        = number
  default     = 30
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes the contents of the buckets and the repositories: archives, container images, captured requests, and the inputs and results of asynchronous endpoints."
  type        = bool
  default     = false
}

variable "models" {
  description = "The models, by key. Each must have image_uri (by digest), model_data_url and model_data_sha256, and may have model_data_version_id, environment, network_isolation, vpc_config and cuda_version.  A model is named NAME_PREFIX-KEY unless it has a name."
  type = map(object({
    name                  = optional(string)
    image_uri             = string
    model_data_url        = string
    model_data_sha256     = string
    model_data_version_id = optional(string)
    environment           = optional(map(string), {})
    network_isolation     = optional(bool, false)
    cuda_version          = optional(string)
    vpc_config = optional(object({
      subnet_ids         = set(string)
      security_group_ids = set(string)
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for one in values(var.models) : one.name == null || one.name == var.name_prefix || startswith(coalesce(one.name, "-"), "${var.name_prefix}-")])
    error_message = "models must have names that are name_prefix (${var.name_prefix}) or begin with it and a hyphen: the deployer may use no others; not ${join(", ", [for one in values(var.models) : one.name if one.name != null])}."
  }

  validation {
    condition     = alltrue([for key in keys(var.models) : can(regex("^[a-z0-9](-*[a-z0-9])*$", key))])
    error_message = "models must have keys of lower-case letters, digits and hyphens, not ${join(", ", keys(var.models))}."
  }

  validation {
    condition     = length(var.models) == 0 || length(var.repositories) > 0
    error_message = "models need at least 1 repository in repositories, from which the execution role pulls images."
  }
}

variable "endpoints" {
  description = "The endpoints, by key. Each has a model (a key of models) and a kind. kind serverless takes memory_mb, max_concurrency, provisioned_concurrency, provisioned_scaling and keep_warm. kind realtime takes instance_type, inference_ami_version, initial_instance_count, autoscaling, opening_hours, guardrails, data_capture and kms_key_arn. kind asynchronous takes instance_type, inference_ami_version, initial_instance_count, max_concurrent_invocations_per_instance, autoscaling and kms_key_arn.  An endpoint is named NAME_PREFIX-KEY unless it has a name.  Captured requests are written to the folder captured/ of the deployment's bucket, where they expire. destination_s3_uri may name another folder."
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
    keep_warm = optional(object({
      body         = optional(string)
      content_type = optional(string)
      schedules = map(object({
        schedule = string
        timezone = optional(string, "UTC")
      }))
    }))

    instance_type          = optional(string)
    inference_ami_version  = optional(string)
    initial_instance_count = optional(number)
    kms_key_arn            = optional(string)
    # The number of requests that an instance processes at a time. Further requests wait.
    max_concurrent_invocations_per_instance = optional(number)
    # Autoscaling of real-time endpoints follows the invocations, and that of asynchronous endpoints
    # the backlog.
    autoscaling = optional(object({
      min_capacity                  = number
      max_capacity                  = number
      target_invocations_per_minute = optional(number)
      target_backlog_per_instance   = optional(number)
      scale_in_cooldown_s           = optional(number, 300)
      scale_out_cooldown_s          = optional(number, 60)
    }))
    # A schedule creates the endpoint when it opens, and deletes it when it closes.
    opening_hours = optional(object({
      schedules = map(object({
        opens    = string
        closes   = string
        timezone = optional(string, "UTC")
      }))
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
      destination_s3_uri  = optional(string)
      sampling_percentage = number
      kms_key_id          = optional(string)
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.name == null || one.name == var.name_prefix || startswith(coalesce(one.name, "-"), "${var.name_prefix}-")])
    error_message = "endpoints must have names that are name_prefix (${var.name_prefix}) or begin with it and a hyphen: the deployer may use no others; not ${join(", ", [for one in values(var.endpoints) : one.name if one.name != null])}."
  }

  validation {
    condition     = var.capture_retention_days == null || alltrue([for one in values(var.endpoints) : startswith(try(coalesce(one.data_capture.destination_s3_uri), local.captures_uri), local.captures_uri)])
    error_message = "endpoints must have a data_capture.destination_s3_uri below ${local.captures_uri}, where captured requests expire after capture_retention_days (${coalesce(var.capture_retention_days, 0)}); in other folders, these modules delete no captured requests. To accept that, set capture_retention_days = null."
  }

  validation {
    condition     = alltrue([for key in keys(var.endpoints) : can(regex("^[a-z0-9](-*[a-z0-9])*$", key))])
    error_message = "endpoints must have keys of lower-case letters, digits and hyphens, not ${join(", ", keys(var.endpoints))}."
  }

  validation {
    condition     = alltrue([for key, one in var.endpoints : length(coalesce(one.name, "${var.name_prefix}-${key}")) <= 43])
    error_message = "endpoints must have names (NAME_PREFIX-KEY) of at most 43 characters; too long: ${join(", ", [for key, one in var.endpoints : key if length(coalesce(one.name, "${var.name_prefix}-${key}")) > 43])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : contains(["serverless", "realtime", "asynchronous"], one.kind)])
    error_message = "endpoints must each have the kind serverless, realtime or asynchronous, not ${join(", ", distinct([for one in values(var.endpoints) : one.kind]))}."
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
    condition     = alltrue([for one in values(var.endpoints) : one.kind == "serverless" || one.instance_type != null])
    error_message = "endpoints of kind realtime and asynchronous must have instance_type; missing in ${join(", ", [for key, one in var.endpoints : key if one.kind != "serverless" && one.instance_type == null])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "serverless" || alltrue([for name in ["instance_type", "inference_ami_version", "initial_instance_count", "kms_key_arn", "max_concurrent_invocations_per_instance", "autoscaling", "opening_hours", "guardrails", "data_capture"] : one[name] == null])])
    error_message = "endpoints of kind serverless cannot have instance_type, inference_ami_version, initial_instance_count, kms_key_arn, autoscaling, opening_hours, guardrails, data_capture or max_concurrent_invocations_per_instance; these are for instances: ${join(", ", [for key, one in var.endpoints : key if one.kind == "serverless"])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind == "serverless" || alltrue([for name in ["memory_mb", "max_concurrency", "provisioned_concurrency", "provisioned_scaling", "keep_warm"] : one[name] == null])])
    error_message = "endpoints of kind realtime and asynchronous cannot have memory_mb, max_concurrency, provisioned_concurrency, provisioned_scaling or keep_warm; these are for serverless: ${join(", ", [for key, one in var.endpoints : key if one.kind != "serverless"])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "asynchronous" || (one.guardrails == null && one.opening_hours == null && one.data_capture == null && try(one.autoscaling.target_invocations_per_minute, null) == null)])
    error_message = "endpoints of kind asynchronous cannot have guardrails, opening_hours, data_capture or autoscaling.target_invocations_per_minute; these are for realtime: ${join(", ", [for key, one in var.endpoints : key if one.kind == "asynchronous"])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "realtime" || (one.max_concurrent_invocations_per_instance == null && try(one.autoscaling.target_backlog_per_instance, null) == null)])
    error_message = "endpoints of kind realtime cannot have max_concurrent_invocations_per_instance or autoscaling.target_backlog_per_instance; these are for asynchronous: ${join(", ", [for key, one in var.endpoints : key if one.kind == "realtime"])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.kind != "realtime" || one.autoscaling == null || try(one.autoscaling.target_invocations_per_minute, null) != null])
    error_message = "endpoints of kind realtime must have autoscaling.target_invocations_per_minute; missing in ${join(", ", [for key, one in var.endpoints : key if one.kind == "realtime" && one.autoscaling != null && try(one.autoscaling.target_invocations_per_minute, null) == null])}."
  }

  validation {
    condition     = alltrue([for one in values(var.endpoints) : one.opening_hours == null || (one.autoscaling == null && one.guardrails == null)])
    error_message = "endpoints with opening_hours cannot have autoscaling or guardrails, which end with the endpoint that the schedule deletes: ${join(", ", [for key, one in var.endpoints : key if one.opening_hours != null && (one.autoscaling != null || one.guardrails != null)])}."
  }

  validation {
    condition     = length([for one in values(var.endpoints) : one if one.kind == "serverless"]) <= 50
    error_message = "endpoints must be at most 50 of kind serverless (SageMaker's quota per region), not ${length([for one in values(var.endpoints) : one if one.kind == "serverless"])}."
  }
}

variable "allow_always_on" {
  description = "Must be true if an endpoint costs money even while no client sends requests: because of real-time instances, provisioned concurrency, keep-warm requests, or asynchronous instances that never scale to zero."
  type        = bool
  default     = false

  validation {
    condition     = var.allow_always_on || !anytrue([for one in values(var.endpoints) : one.kind == "realtime" || try(one.autoscaling.min_capacity, 0) > 0 || one.provisioned_concurrency != null || one.keep_warm != null])
    error_message = "allow_always_on must be true: ${join(", ", [for key, one in var.endpoints : key if one.kind == "realtime" || try(one.autoscaling.min_capacity, 0) > 0 || one.provisioned_concurrency != null || one.keep_warm != null])} would be paid around the clock (kind realtime, autoscaling.min_capacity, provisioned_concurrency or keep_warm)."
  }
}

variable "log_retention_days" {
  description = "How long the endpoints' logs are kept, in days."
  type        = number
  default     = 30
}

variable "create_alarms" {
  description = "Whether serverless and real-time endpoints get alarms for latency and errors, and serverless endpoints also for setup time; an alarm costs about 0.10 USD a month. Asynchronous endpoints always have alarms of their own."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "E-mail address to which alarms and warnings about the budget are sent; null sends no e-mail."
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars for everything that carries budget_tag; null makes no budget."
  type        = number
  default     = null
}

variable "budget_tag" {
  description = "Key and value of the cost-allocation tag. The budget counts the resources that carry it."
  type = object({
    key   = string
    value = string
  })
}
