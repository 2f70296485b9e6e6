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
  })
  default = null
}

variable "endpoint" {
  description = "The endpoint, named NAME_PREFIX.  `kind` is serverless (memory_mb, max_concurrency, provisioned_concurrency) or realtime (instance_type, initial_instance_count)."
  type = object({
    kind                    = string
    memory_mb               = optional(number)
    max_concurrency         = optional(number)
    provisioned_concurrency = optional(number)
    instance_type           = optional(string)
    initial_instance_count  = optional(number)
  })
  default = null
}

variable "allow_always_on" {
  description = "Must be true where an endpoint costs money without requests: real-time instances and provisioned concurrency."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "How long the endpoints' logs are kept."
  type        = number
  default     = 30
}

variable "alarm_email" {
  description = "Told of alarms and of the budget; null tells nobody."
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "Budget of what carries these tags; null makes none."
  type        = number
  default     = null
}
