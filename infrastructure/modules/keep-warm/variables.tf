variable "name" {
  description = "Name of the role that sends the requests, at most 64 letters, digits and hyphens."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "endpoints" {
  description = "The endpoints to keep warm, by key, each with its name, ARN and schedules. A schedule is cron(...) or rate(...) of EventBridge Scheduler. body and content_type say what is sent. With null, a small synthetic photograph is sent in base64."
  type = map(object({
    endpoint_name = string
    endpoint_arn  = string
    body          = optional(string)
    content_type  = optional(string)
    schedules = map(object({
      schedule = string
      timezone = optional(string, "UTC")
    }))
  }))

  validation {
    condition     = length(var.endpoints) >= 1 && alltrue([for one in values(var.endpoints) : length(one.schedules) >= 1])
    error_message = "endpoints must be at least 1, each with at least 1 of schedules; without schedules: ${join(", ", [for key, one in var.endpoints : key if length(one.schedules) == 0])}."
  }

  validation {
    condition     = alltrue(flatten([for one in values(var.endpoints) : [for schedule in values(one.schedules) : can(regex("^(cron|rate)\\(.+\\)$", schedule.schedule))]]))
    error_message = "endpoints must have schedules of the form cron(...) or rate(...), not ${join(", ", flatten([for one in values(var.endpoints) : [for schedule in values(one.schedules) : schedule.schedule]]))}."
  }

  validation {
    condition     = alltrue(flatten([for one in values(var.endpoints) : [for key in keys(one.schedules) : can(regex("^[a-zA-Z0-9_.-]{1,20}$", key))]]))
    error_message = "endpoints must have schedules with keys of 1 to 20 letters, digits, dots, hyphens and underscores, not ${join(", ", flatten([for one in values(var.endpoints) : keys(one.schedules)]))}."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary, a policy that limits what the role can ever do; null sets no limit."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the role; schedules have none."
  type        = map(string)
  default     = {}
}
