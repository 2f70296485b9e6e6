# One tfvars.json describes one endpoint.  `drdeploy endpoint deploy --target aws|local` writes it;
# by hand, start from example.tfvars.json.

variable "region" {
  description = "AWS region in which everything is created."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of an AWS region, for example us-east-1, not \"${var.region}\"."
  }
}

variable "name_prefix" {
  description = "Prefix of all resource names: 2 to 20 lower-case letters, digits and hyphens, a letter first."
  type        = string
}

variable "tags" {
  description = "Tags of every resource, for example to tell costs apart."
  type        = map(string)
  default     = {}
}

variable "bucket_name" {
  description = "Name of the bucket for model archives. With null, the name is NAME_PREFIX-artifacts-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes the contents of the buckets and the repositories: archives, container images, captured requests, and the inputs and results of asynchronous endpoints. With false, `terraform destroy` stops if there are any."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the buckets, the repositories, logs, alarm messages, the instances' volumes and captured requests (modules/encryption-key makes such a key). With null, AWS's services use their own keys. The key of a repository cannot be changed later."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary, a policy that limits what the execution role can ever do (output boundary_arn of modules/deployer-policy); null sets no limit."
  type        = string
  default     = null
}

variable "capture_retention_days" {
  description = "Number of days for which captured requests are kept in the deployment's bucket, and inputs, results and failures in the buckets of asynchronous endpoints. They are photographs and grades of patients. With null, they are kept forever."
  type        = number
  default     = 30
}

# modules/deployment, to which both values are passed on, checks their types and limits.
variable "model" {
  description = "The model. It must have image_uri (by digest), model_data_url and model_data_sha256, and may have model_data_version_id, environment, network_isolation, vpc_config and cuda_version. With null, only the bucket, the repository and the role are created, so that the container image and the archive can be uploaded first."
  type        = any
  default     = null
}

variable "endpoint" {
  description = "The endpoint. Its name is NAME_PREFIX, and its kind is serverless, realtime or asynchronous. With null, there is no endpoint.  kind serverless takes memory_mb, max_concurrency, provisioned_concurrency, provisioned_scaling and keep_warm.  kind realtime takes instance_type, inference_ami_version, initial_instance_count, autoscaling, opening_hours, guardrails, data_capture and kms_key_arn.  kind asynchronous takes instance_type, inference_ami_version, initial_instance_count, max_concurrent_invocations_per_instance, autoscaling and kms_key_arn."
  type        = any
  default     = null

  validation {
    condition     = var.endpoint == null || var.model != null
    error_message = "endpoint needs a model; model must not be null."
  }
}

variable "allow_always_on" {
  description = "Must be true if an endpoint costs money even while no client sends requests: because of real-time instances, provisioned concurrency, keep-warm requests, or asynchronous instances that never scale to zero."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "How long the endpoint's log is kept, in days."
  type        = number
  default     = 30
}

variable "create_alarms" {
  description = "Whether a serverless or real-time endpoint gets alarms for latency and errors, and a serverless endpoint also for setup time; an alarm costs about 0.10 USD a month. An asynchronous endpoint always has alarms of its own."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "E-mail address to which alarms and warnings about the budget are sent; null sends no e-mail."
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars for everything that carries the endpoint's tag; null makes no budget."
  type        = number
  default     = null
}
