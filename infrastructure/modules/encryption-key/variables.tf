variable "name_prefix" {
  description = "Prefix of the names of the endpoints whose logs and alarms may use the key."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens, a letter first, not \"${var.name_prefix}\"."
  }
}

variable "deletion_window_days" {
  description = "How long AWS waits before it deletes the key, in days: 7 to 30.  When the key is deleted, everything that it encrypted is lost."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "deletion_window_days must be 7 to 30, not ${var.deletion_window_days}."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
