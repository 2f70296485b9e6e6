locals {
  tag  = { key = "drdeploy:endpoint", value = var.name_prefix }
  tags = merge({ (local.tag.key) = local.tag.value, "drdeploy:managed-by" = "terraform" }, var.tags)
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
