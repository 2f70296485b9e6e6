locals {
  tag  = { key = "drdeploy:study", value = var.name_prefix }
  tags = merge({ (local.tag.key) = local.tag.value, "drdeploy:managed-by" = "terraform" }, var.tags)
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
