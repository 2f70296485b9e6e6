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

variable "instance_type" {
  description = "Instance type, for example ml.m5.xlarge. Each instance is paid by the hour, around the clock."
  type        = string

  validation {
    condition     = contains(local.instance_types, var.instance_type)
    error_message = "instance_type must be one of SageMaker's ${length(local.instance_types)} hosting instance types (instance_types.json), not \"${var.instance_type}\"."
  }
}

variable "inference_ami_version" {
  description = "AMI version of instances with a GPU, for example al2023-ami-sagemaker-inference-gpu-4-1, which determines the instances' NVIDIA driver (inference_amis.json). null uses SageMaker's default, which has driver 470 (CUDA 11.4) on ml.g4dn, ml.g5 and ml.p4d."
  type        = string
  default     = null

  validation {
    condition     = var.inference_ami_version == null ? true : contains(keys(local.hosts.amis), var.inference_ami_version)
    error_message = "inference_ami_version must be one of ${join(", ", keys(local.hosts.amis))}, not \"${coalesce(var.inference_ami_version, "null")}\"."
  }

  validation {
    condition     = try(local.hosts.amis[var.inference_ami_version], null) == null || local.gpu_family != null
    error_message = "inference_ami_version ${coalesce(var.inference_ami_version, "null")} is for instances with a GPU, and ${var.instance_type} has none: leave it out, or choose another instance_type."
  }
}

variable "cuda_version" {
  description = "Version of CUDA that the model's container image was built for, for example 13.0 (docker inspect shows NVIDIA_REQUIRE_CUDA); null for an image for CPUs. Instances on which the image cannot start are refused."
  type        = string
  default     = null

  validation {
    condition     = var.cuda_version == null ? true : can(regex("^[0-9]+\\.[0-9]+$", var.cuda_version))
    error_message = "cuda_version must be a version like 13.0, not \"${coalesce(var.cuda_version, "null")}\"."
  }

  validation {
    condition     = var.cuda_version == null || local.gpu_family != null
    error_message = "cuda_version ${coalesce(var.cuda_version, "null")} needs an instance type with a GPU, and ${var.instance_type} has none: choose one, for example ml.g5.xlarge, or an image for CPUs."
  }

  validation {
    condition     = var.cuda_version == null || try(tonumber(split(".", var.cuda_version)[0]), 0) <= lookup(local.hosts.last_cuda, coalesce(local.gpu_family, "none"), 999)
    error_message = "cuda_version ${coalesce(var.cuda_version, "null")} no longer supports the GPU of ${var.instance_type}: choose a newer instance type, for example ml.g4dn.xlarge or ml.g5.xlarge."
  }

  validation {
    condition     = var.cuda_version == null || local.host_driver >= try(local.hosts.oldest_drivers[split(".", var.cuda_version)[0]], 0)
    error_message = "cuda_version ${coalesce(var.cuda_version, "null")} needs driver ${try(local.hosts.oldest_drivers[split(".", var.cuda_version)[0]], 0)}, and the host of ${var.instance_type} has driver ${local.host_driver}: set inference_ami_version to ${join(" or ", [for name, driver in local.hosts.amis : name if coalesce(driver, 0) >= try(local.hosts.oldest_drivers[split(".", var.cuda_version)[0]], 0)])}."
  }
}

variable "initial_instance_count" {
  description = "Number of instances that a deployment starts with, at least 1."
  type        = number
  default     = 1

  validation {
    condition     = var.initial_instance_count >= 1 && floor(var.initial_instance_count) == var.initial_instance_count
    error_message = "initial_instance_count must be at least 1, not ${var.initial_instance_count}."
  }
}

variable "autoscaling" {
  description = "Changes the number of instances between min_capacity and max_capacity, so that each instance gets about target_invocations_per_minute. initial_instance_count must lie between min_capacity and max_capacity."
  type = object({
    min_capacity                  = number
    max_capacity                  = number
    target_invocations_per_minute = number
    scale_in_cooldown_s           = optional(number, 300)
    scale_out_cooldown_s          = optional(number, 60)
  })
  default = null

  validation {
    condition     = var.autoscaling == null ? true : var.autoscaling.min_capacity >= 1 && var.autoscaling.min_capacity <= var.autoscaling.max_capacity
    error_message = "autoscaling.min_capacity must be at least 1 and at most max_capacity (${try(var.autoscaling.max_capacity, 0)}), not ${try(var.autoscaling.min_capacity, 0)}."
  }

  validation {
    condition     = var.autoscaling == null ? true : var.initial_instance_count >= var.autoscaling.min_capacity && var.initial_instance_count <= var.autoscaling.max_capacity
    error_message = "initial_instance_count (${var.initial_instance_count}) must lie between autoscaling.min_capacity and autoscaling.max_capacity (${try(var.autoscaling.min_capacity, 0)} to ${try(var.autoscaling.max_capacity, 0)}), because a deployment begins with this number."
  }

  validation {
    condition     = var.autoscaling == null ? true : var.autoscaling.target_invocations_per_minute > 0
    error_message = "autoscaling.target_invocations_per_minute must be above 0, not ${try(var.autoscaling.target_invocations_per_minute, 0)}."
  }
}

variable "guardrails" {
  description = "How traffic moves to the instances of a new configuration (blue/green): all-at-once, canary or linear. step_percent is the share that a step moves, and wait_s the time between steps; a deployment that takes more than four hours is rolled back. Old instances are kept for termination_wait_s. If more than max_error_percent of the requests end in a 5XX, or if the mean latency exceeds max_latency_ms, the old instances get the traffic back."
  type = object({
    traffic            = optional(string, "all-at-once")
    step_percent       = optional(number, 10)
    wait_s             = optional(number, 300)
    termination_wait_s = optional(number, 300)
    max_error_percent  = optional(number, 5)
    max_latency_ms     = optional(number, 10000)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["all-at-once", "canary", "linear"], var.guardrails.traffic)
    error_message = "guardrails.traffic must be all-at-once, canary or linear, not \"${var.guardrails.traffic}\"."
  }

  validation {
    condition     = var.guardrails.step_percent >= 5 && var.guardrails.step_percent <= 50
    error_message = "guardrails.step_percent must be 5 to 50, not ${var.guardrails.step_percent}."
  }

  validation {
    condition     = var.guardrails.traffic == "all-at-once" || var.initial_instance_count >= 2
    error_message = "guardrails.traffic ${var.guardrails.traffic} needs an initial_instance_count of at least 2, not ${var.initial_instance_count}: 1 instance cannot be divided."
  }

  validation {
    condition     = var.guardrails.wait_s >= 0 && var.guardrails.wait_s <= 3600 && var.guardrails.termination_wait_s >= 0 && var.guardrails.termination_wait_s <= 3600
    error_message = "guardrails.wait_s and guardrails.termination_wait_s must be 0 to 3600, not ${var.guardrails.wait_s} and ${var.guardrails.termination_wait_s}."
  }

  validation {
    condition     = var.guardrails.max_error_percent > 0 && var.guardrails.max_error_percent <= 100
    error_message = "guardrails.max_error_percent must be above 0 and at most 100, not ${var.guardrails.max_error_percent}."
  }
}

variable "has_guardrails" {
  description = "Whether guardrails apply to updates. Set it to false for an endpoint that a schedule creates (modules/opening-hours). The schedule creates the endpoint without guardrails, so with true, Terraform would find a change in every plan."
  type        = bool
  default     = true
}

variable "data_capture" {
  description = "Stores a share of the requests and answers in S3.  Requests are photographs of patients: consider who may read the bucket."
  type = object({
    destination_s3_uri  = string
    sampling_percentage = number
    kms_key_id          = optional(string)
  })
  default = null

  validation {
    condition     = try(var.data_capture.kms_key_id, null) == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.data_capture.kms_key_id))
    error_message = "data_capture.kms_key_id must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), which the execution role is allowed to use; not \"${coalesce(try(var.data_capture.kms_key_id, null), "null")}\"."
  }

  validation {
    condition     = var.data_capture == null ? true : can(regex("^s3://[a-z0-9][a-z0-9.-]+/.+", var.data_capture.destination_s3_uri))
    error_message = "data_capture.destination_s3_uri must be s3://BUCKET/FOLDER, not \"${try(var.data_capture.destination_s3_uri, "")}\"."
  }

  validation {
    condition     = var.data_capture == null ? true : var.data_capture.sampling_percentage >= 0 && var.data_capture.sampling_percentage <= 100
    error_message = "data_capture.sampling_percentage must be 0 to 100, not ${try(var.data_capture.sampling_percentage, 0)}."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the log, the captured requests (unless data_capture names another key), and the instances' volumes (unless the instance type has disks of its own, which the hardware encrypts). The key's policy must let CloudWatch Logs use it (modules/encryption-key). With null, AWS's services use their own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not \"${coalesce(var.kms_key_arn, "null")}\"."
  }
}

variable "startup_timeout_s" {
  description = "How long a container may take to answer /ping, in seconds: 60 to 3600."
  type        = number
  default     = 240

  validation {
    condition     = var.startup_timeout_s >= 60 && var.startup_timeout_s <= 3600
    error_message = "startup_timeout_s must be 60 to 3600, not ${var.startup_timeout_s}."
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

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
