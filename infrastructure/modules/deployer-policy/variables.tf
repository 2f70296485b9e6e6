variable "name_prefix" {
  description = "Prefix of the names of all resources that the policy lets its user create, change and delete."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "create" {
  description = "Whether to create the IAM policy; false only outputs it as JSON."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
