variable "name_prefix" {
  description = "Everything that may be touched has a name that begins so."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "create" {
  description = "Whether to make an IAM policy; false only writes its text to the outputs."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Of every resource."
  type        = map(string)
  default     = {}
}
