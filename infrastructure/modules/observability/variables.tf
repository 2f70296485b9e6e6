variable "name" {
  description = "Prefix of the names of the dashboard, the alarms, the topic and the budget."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]{1,54}$", var.name))
    error_message = "name must be 1 to 54 letters, digits and hyphens, not \"${var.name}\"."
  }
}

variable "endpoints" {
  description = "Endpoints to watch, by key: endpoint_name and kind (serverless, realtime or asynchronous)."
  type = map(object({
    endpoint_name = string
    kind          = string
  }))

  validation {
    condition     = alltrue([for one in values(var.endpoints) : contains(["serverless", "realtime", "asynchronous"], one.kind)])
    error_message = "endpoints must each have the kind serverless, realtime or asynchronous, not ${join(", ", [for one in values(var.endpoints) : one.kind])}."
  }
}

variable "create_alarms" {
  description = "Whether serverless and real-time endpoints get alarms; an alarm costs about 0.10 USD a month. Asynchronous endpoints have alarms of their own (modules/asynchronous-endpoint)."
  type        = bool
  default     = false
}

variable "max_latency_ms" {
  description = "Limit of the 95th percentile of ModelLatency, in milliseconds. Above it, an alarm is raised."
  type        = number
  default     = 5000

  validation {
    condition     = var.max_latency_ms > 0 && var.max_latency_ms <= 60000
    error_message = "max_latency_ms must be above 0 and at most 60000 (SageMaker's own limit), not ${var.max_latency_ms}."
  }
}

variable "max_errors" {
  description = "Limit of the number of requests that end in a 5XX within five minutes. Above it, an alarm is raised."
  type        = number
  default     = 0

  validation {
    condition     = var.max_errors >= 0
    error_message = "max_errors must be at least 0, not ${var.max_errors}."
  }
}

variable "max_setup_ms" {
  description = "Limit of the time that a serverless container takes to start (ModelSetupTime), in milliseconds. Above it, an alarm is raised."
  type        = number
  default     = 30000

  validation {
    condition     = var.max_setup_ms > 0 && var.max_setup_ms <= 180000
    error_message = "max_setup_ms must be above 0 and at most 180000 (SageMaker's own limit), not ${var.max_setup_ms}."
  }
}

variable "alarm_email" {
  description = "E-mail address to which alarms and warnings about the budget are sent; null sends no e-mail."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address or null, not \"${coalesce(var.alarm_email, "null")}\"."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts alarm messages. The key's policy must let cloudwatch.amazonaws.com use it. With null, the messages are not encrypted; e-mails never are."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not \"${coalesce(var.kms_key_arn, "null")}\"."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars for everything that carries budget_tag. An e-mail is sent when 80 % are spent, and when AWS forecasts more than 100 %. With null, there is no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget_usd == null ? true : var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0 or null, not ${coalesce(var.monthly_budget_usd, 0)}."
  }

  validation {
    condition     = var.monthly_budget_usd == null || var.alarm_email != null
    error_message = "monthly_budget_usd needs alarm_email, because a budget must have somebody to mail."
  }
}

variable "budget_tag" {
  description = "Key and value of the cost-allocation tag. The budget counts the resources that carry it."
  type = object({
    key   = string
    value = string
  })
  default = { key = "drdeploy:study", value = "drdeploy" }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
