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

variable "execution_role_name" {
  description = "Name of the model's execution role, which gets a policy for inputs, results and notifications."
  type        = string
}

variable "instance_type" {
  description = "Instance type, for example ml.m5.xlarge. Each instance is paid by the hour for as long as it exists."
  type        = string

  validation {
    condition     = can(regex("^ml\\.[a-z0-9-]+\\.[a-z0-9]+$", var.instance_type))
    error_message = "instance_type must be one of SageMaker's, for example ml.m5.xlarge, not \"${var.instance_type}\"."
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
  description = "Number of instances that a deployment starts with, at least 1. Autoscaling then changes it."
  type        = number
  default     = 1

  validation {
    condition     = var.initial_instance_count >= 1 && floor(var.initial_instance_count) == var.initial_instance_count
    error_message = "initial_instance_count must be at least 1, not ${var.initial_instance_count}: SageMaker creates endpoints only with instances."
  }
}

variable "max_concurrent_invocations_per_instance" {
  description = "How many requests an instance processes at the same time, 1 to 1000; null leaves the choice to SageMaker."
  type        = number
  default     = null

  validation {
    condition     = var.max_concurrent_invocations_per_instance == null ? true : var.max_concurrent_invocations_per_instance >= 1 && var.max_concurrent_invocations_per_instance <= 1000
    error_message = "max_concurrent_invocations_per_instance must be 1 to 1000, not ${coalesce(var.max_concurrent_invocations_per_instance, 0)}."
  }
}

variable "bucket_name" {
  description = "Name of the bucket that the module makes for results (asynchronous/results/), failures (asynchronous/failed/) and, unless input_arns names other folders, inputs (asynchronous/inputs/)."
  type        = string
}

variable "input_arns" {
  description = "Folders in this account's buckets from which inputs are read, each as arn:aws:s3:::BUCKET/FOLDER/*. Empty means asynchronous/inputs/ in the bucket that the module makes."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.input_arns : can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+/[^*]+/\\*$", arn))])
    error_message = "input_arns must be folders of a bucket (arn:aws:s3:::BUCKET/FOLDER/*), not ${join(", ", var.input_arns)}."
  }
}

variable "include_responses" {
  description = "Whether the messages of the SNS topics contain the model's answer. An answer holds a patient's grade, so consider who subscribes."
  type        = bool
  default     = false
}

variable "retention_days" {
  description = "How long inputs, results and failures are kept in the module's bucket, in days; null keeps them forever."
  type        = number
  default     = 30

  validation {
    condition     = var.retention_days == null ? true : var.retention_days >= 1
    error_message = "retention_days must be at least 1, or null, not ${coalesce(var.retention_days, 0)}."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes the bucket even if it is not empty."
  type        = bool
  default     = false
}

variable "autoscaling" {
  description = "Changes the number of instances between min_capacity, which may be 0, and max_capacity, so that about target_backlog_per_instance requests wait for each instance. An endpoint without instances starts one about two minutes after a request."
  type = object({
    min_capacity                = optional(number, 0)
    max_capacity                = optional(number, 1)
    target_backlog_per_instance = optional(number, 5)
    scale_in_cooldown_s         = optional(number, 300)
    scale_out_cooldown_s        = optional(number, 60)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.autoscaling.min_capacity >= 0 && var.autoscaling.max_capacity >= 1 && var.autoscaling.min_capacity <= var.autoscaling.max_capacity
    error_message = "autoscaling.min_capacity is ${var.autoscaling.min_capacity}, but must be from 0 to max_capacity (${var.autoscaling.max_capacity}). max_capacity must be at least 1."
  }

  validation {
    condition     = var.initial_instance_count >= var.autoscaling.min_capacity && var.initial_instance_count <= var.autoscaling.max_capacity
    error_message = "initial_instance_count (${var.initial_instance_count}) must lie between autoscaling.min_capacity and autoscaling.max_capacity (${var.autoscaling.min_capacity} to ${var.autoscaling.max_capacity}), because a deployment begins with this number."
  }

  validation {
    condition     = var.autoscaling.target_backlog_per_instance > 0
    error_message = "autoscaling.target_backlog_per_instance must be above 0, not ${var.autoscaling.target_backlog_per_instance}."
  }
}

variable "alarms" {
  description = "When alarms are raised: if the oldest request has waited longer than max_age_s, and if more than max_failures requests fail within five minutes. The SNS topics in topic_arns are notified."
  type = object({
    max_age_s    = optional(number, 3600)
    max_failures = optional(number, 0)
    topic_arns   = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alarms.max_age_s > 0 && var.alarms.max_failures >= 0
    error_message = "alarms.max_age_s must be above 0 and alarms.max_failures at least 0, not ${var.alarms.max_age_s} and ${var.alarms.max_failures}."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the bucket, the topics, the log, and the instances' volumes (unless the instance type has disks of its own). The key's policy must let CloudWatch Logs use it (modules/encryption-key). With null, AWS's services use their own keys."
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
