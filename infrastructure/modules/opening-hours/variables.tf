variable "name" {
  description = "Name of the role that creates and deletes the endpoints, at most 64 letters, digits and hyphens."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "endpoints" {
  description = "The endpoints with opening hours, by key. Each has the names and ARNs of the endpoint and its configuration, the endpoint's tags, the key that encrypts its volumes (volume_key_arn), and schedules. A schedule has opens and closes, each a cron(...) of EventBridge Scheduler."
  type = map(object({
    endpoint_name      = string
    endpoint_arn       = string
    configuration_name = string
    configuration_arn  = string
    tags               = optional(map(string), {})
    volume_key_arn     = optional(string)
    schedules = map(object({
      opens    = string
      closes   = string
      timezone = optional(string, "UTC")
    }))
  }))

  validation {
    condition     = length(var.endpoints) >= 1 && alltrue([for one in values(var.endpoints) : length(one.schedules) >= 1])
    error_message = "endpoints must be at least 1, each with at least 1 of schedules; without schedules: ${join(", ", [for key, one in var.endpoints : key if length(one.schedules) == 0])}."
  }

  validation {
    condition     = alltrue(flatten([for one in values(var.endpoints) : [for hours in values(one.schedules) : [for text in [hours.opens, hours.closes] : can(regex("^cron\\(.+\\)$", text))]]]))
    error_message = "endpoints must have schedules whose opens and closes have the form cron(...), not ${join(", ", flatten([for one in values(var.endpoints) : [for hours in values(one.schedules) : [hours.opens, hours.closes]]]))}."
  }

  validation {
    condition     = alltrue(flatten([for one in values(var.endpoints) : [for hours in values(one.schedules) : hours.opens != hours.closes]]))
    error_message = "endpoints must have schedules that open and close at different times, not ${join(", ", flatten([for one in values(var.endpoints) : [for hours in values(one.schedules) : hours.opens if hours.opens == hours.closes]]))}."
  }

  validation {
    condition     = alltrue(flatten([for one in values(var.endpoints) : [for key in keys(one.schedules) : can(regex("^[a-zA-Z0-9_.-]{1,13}$", key))]]))
    error_message = "endpoints must have schedules with keys of 1 to 13 letters, digits, dots, hyphens and underscores, not ${join(", ", flatten([for one in values(var.endpoints) : keys(one.schedules)]))}."
  }
}

variable "retry_s" {
  # A call is also tried again if there is nothing to do, for example if the endpoint to create
  # already exists. If the call were tried for hours, it could create an endpoint after its closing
  # time.
  description = "For how many seconds a failed call to SageMaker is tried again: 60 to 3600."
  type        = number
  default     = 1800

  validation {
    condition     = var.retry_s >= 60 && var.retry_s <= 3600
    error_message = "retry_s must be 60 to 3600, not ${var.retry_s}."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary, a policy that limits what the role can ever do; null sets no limit."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the role. Schedules have no tags. The tags of the endpoints are set in endpoints."
  type        = map(string)
  default     = {}
}
