variable "name" {
  description = "Name of the repository in ECR's public gallery."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+([/_-][a-z0-9]+)*$", var.name)) && length(var.name) >= 2 && length(var.name) <= 205
    error_message = "name must be 2 to 205 lower-case letters, digits, hyphens, underscores and slashes, not \"${var.name}\"."
  }
}

variable "description" {
  description = "Description that the public gallery shows, one line of at most 1024 characters."
  type        = string
  default     = "Grades diabetic retinopathy from fundus photographs. Research use, not a medical device."

  validation {
    condition     = length(var.description) <= 1024
    error_message = "description must have at most 1024 characters, not ${length(var.description)}."
  }
}

variable "architectures" {
  description = "Processor architectures that the container images are built for: ARM, ARM 64, x86 or x86-64."
  type        = set(string)
  default     = ["x86-64"]

  validation {
    condition     = length(setsubtract(var.architectures, ["ARM", "ARM 64", "x86", "x86-64"])) == 0
    error_message = "architectures must be of ARM, ARM 64, x86 and x86-64, not ${join(", ", var.architectures)}."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes the container images in the repository."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
