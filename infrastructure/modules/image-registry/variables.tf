variable "name" {
  description = "Name of the repository: lower-case letters, digits, hyphens, underscores and slashes."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+([/_-][a-z0-9]+)*$", var.name)) && length(var.name) >= 2 && length(var.name) <= 256
    error_message = "name must be 2 to 256 lower-case letters, digits, hyphens, underscores and slashes, not \"${var.name}\"."
  }
}

variable "force_delete" {
  description = "Whether `terraform destroy` also deletes the container images in the repository."
  type        = bool
  default     = false
}

variable "keep_images" {
  description = "How many container images are kept; older ones expire. An endpoint pulls its image again for every instance that it starts, so keep more images than there are models."
  type        = number
  default     = 50

  validation {
    condition     = var.keep_images >= 1 && floor(var.keep_images) == var.keep_images
    error_message = "keep_images must be a whole number of at least 1, not ${var.keep_images}."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the container images. With null, ECR uses its own keys, which cost nothing. The key of a repository cannot be changed, so another key makes a new repository."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not \"${coalesce(var.kms_key_arn, "null")}\"."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
