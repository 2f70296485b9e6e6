locals {
  tag  = { key = "drdeploy:endpoint", value = var.name_prefix }
  tags = merge({ (local.tag.key) = local.tag.value, "drdeploy:managed-by" = "terraform" }, var.tags)

  # Of an object, Terraform drops the attributes that its type does not name. A misspelt attribute
  # would have no effect, so the outputs refuse it.
  attributes = jsondecode(file("${path.module}/../../modules/deployment/attributes.json"))
  given_attributes = concat(
    [
      { path = "model", type = "model", names = try(keys(var.model), []) },
      { path = "model.vpc_config", type = "model.vpc_config", names = try(keys(var.model.vpc_config), []) },
      { path = "endpoint", type = "endpoint", names = try(keys(var.endpoint), []) },
    ],
    [for part in ["autoscaling", "data_capture", "guardrails", "keep_warm", "opening_hours", "provisioned_scaling"] :
      { path = "endpoint.${part}", type = "endpoint.${part}", names = try(keys(var.endpoint[part]), []) }
    ],
    flatten([for part in ["keep_warm", "opening_hours", "provisioned_scaling"] :
      try([for name, schedule in var.endpoint[part].schedules : { path = "endpoint.${part}.schedules.${name}", type = "endpoint.${part}.schedules", names = keys(schedule) }], [])
    ]),
  )
  unknown_attributes = flatten([for one in local.given_attributes :
    [for name in setsubtract(toset(one.names), local.attributes[one.type]) : "${one.path}.${name}"]
  ])
}

# [*] turns the model into a list of one element, and null into an empty list.
module "deployment" {
  source = "../../modules/deployment"

  name_prefix              = var.name_prefix
  bucket_name              = var.bucket_name
  force_destroy            = var.force_destroy
  kms_key_arn              = var.kms_key_arn
  permissions_boundary_arn = var.permissions_boundary_arn
  capture_retention_days   = var.capture_retention_days
  models                   = { for model in var.model[*] : "model" => merge(model, { name = var.name_prefix }) }
  endpoints                = { for endpoint in var.endpoint[*] : "endpoint" => merge(endpoint, { name = var.name_prefix, model = "model" }) }
  allow_always_on          = var.allow_always_on
  log_retention_days       = var.log_retention_days
  create_alarms            = var.create_alarms
  alarm_email              = var.alarm_email
  monthly_budget_usd       = var.monthly_budget_usd
  budget_tag               = local.tag
}
