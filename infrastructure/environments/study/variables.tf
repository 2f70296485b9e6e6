# One tfvars.json describes a whole study.  `drdeploy study run --target aws|local` writes it;
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

variable "repositories" {
  description = "Repositories for container images. Each is created with the name NAME_PREFIX/REPOSITORY."
  type        = set(string)
  default     = ["drdeploy"]
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
variable "models" {
  description = "The models, by key. Each must have image_uri (by digest), model_data_url and model_data_sha256, and may have model_data_version_id, environment, network_isolation, vpc_config and cuda_version."
  type        = any
  default     = {}
  nullable    = false
}

variable "endpoints" {
  description = "The endpoints, by key. Each is named NAME_PREFIX-KEY, and has a model (a key of models) and a kind. kind serverless takes memory_mb, max_concurrency, provisioned_concurrency, provisioned_scaling and keep_warm. kind realtime takes instance_type, inference_ami_version, initial_instance_count, autoscaling, opening_hours, guardrails, data_capture and kms_key_arn. kind asynchronous takes instance_type, inference_ami_version, initial_instance_count, max_concurrent_invocations_per_instance, autoscaling and kms_key_arn."
  type        = any
  default     = {}
  nullable    = false
}

variable "allow_always_on" {
  description = "Must be true if an endpoint costs money even while no client sends requests: because of real-time instances, provisioned concurrency, keep-warm requests, or asynchronous instances that never scale to zero."
  type        = bool
  default     = false
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
  description = "Monthly budget in US dollars for everything that carries the study's tag; null makes no budget."
  type        = number
  default     = null
}
