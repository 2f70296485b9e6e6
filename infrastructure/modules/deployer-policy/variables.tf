variable "name_prefix" {
  description = "Prefix of the names of the resources that the policies let a deployer create, change and delete. The prefix of another team must not begin with this prefix and a hyphen, because the pattern dr-* also covers dr-eyes-*."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary that every role created by the deployer must have. With null, the module makes a boundary that allows only what an endpoint needs."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy (arn:aws:iam::ACCOUNT:policy/NAME), not \"${coalesce(var.permissions_boundary_arn, "null")}\"."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the KMS keys that the deployer and the deployed endpoints may use (modules/encryption-key makes such a key)."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", arn))])
    error_message = "kms_key_arns must name keys, each exactly (arn:aws:kms:REGION:ACCOUNT:key/ID, no wildcard), not ${join(", ", var.kms_key_arns)}."
  }
}

variable "allow_vpc" {
  description = "Whether the boundary lets endpoints run in a VPC, for which SageMaker creates network interfaces."
  type        = bool
  default     = false
}

variable "create" {
  description = "Whether to create the IAM policies; false only outputs them as JSON."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
