locals {
  tag  = { key = "drdeploy:study", value = var.name_prefix }
  tags = merge({ (local.tag.key) = local.tag.value, "drdeploy:managed-by" = "terraform" }, var.tags)

  # Of an object, Terraform drops the attributes that its type does not name. A misspelt attribute
  # would have no effect, so the outputs refuse it.
  attributes = jsondecode(file("${path.module}/../../modules/deployment/attributes.json"))
  given_attributes = concat(
    [for key, one in var.models : { path = "models.${key}", type = "model", names = try(keys(one), []) }],
    [for key, one in var.models : { path = "models.${key}.vpc_config", type = "model.vpc_config", names = try(keys(one.vpc_config), []) }],
    [for key, one in var.endpoints : { path = "endpoints.${key}", type = "endpoint", names = try(keys(one), []) }],
    flatten([for key, one in var.endpoints : [for part in ["autoscaling", "data_capture", "guardrails", "keep_warm", "opening_hours", "provisioned_scaling"] :
      { path = "endpoints.${key}.${part}", type = "endpoint.${part}", names = try(keys(one[part]), []) }
    ]]),
    flatten([for key, one in var.endpoints : [for part in ["keep_warm", "opening_hours", "provisioned_scaling"] :
      try([for name, schedule in one[part].schedules : { path = "endpoints.${key}.${part}.schedules.${name}", type = "endpoint.${part}.schedules", names = keys(schedule) }], [])
    ]]),
  )
  unknown_attributes = flatten([for one in local.given_attributes :
    [for name in setsubtract(toset(one.names), local.attributes[one.type]) : "${one.path}.${name}"]
  ])
}

module "deployment" {
  source = "../../modules/deployment"

  name_prefix              = var.name_prefix
  bucket_name              = var.bucket_name
  repositories             = var.repositories
  force_destroy            = var.force_destroy
  kms_key_arn              = var.kms_key_arn
  permissions_boundary_arn = var.permissions_boundary_arn
  capture_retention_days   = var.capture_retention_days
  models                   = var.models
  endpoints                = var.endpoints
  allow_always_on          = var.allow_always_on
  log_retention_days       = var.log_retention_days
  create_alarms            = var.create_alarms
  alarm_email              = var.alarm_email
  monthly_budget_usd       = var.monthly_budget_usd
  budget_tag               = local.tag
}
