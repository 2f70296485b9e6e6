data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region      = data.aws_region.current.region
  bucket_name = coalesce(var.bucket_name, "${var.name_prefix}-artifacts-${data.aws_caller_identity.current.account_id}-${local.region}")

  model_names    = { for key, model in var.models : key => coalesce(model.name, "${var.name_prefix}-${key}") }
  endpoint_names = { for key, one in var.endpoints : key => coalesce(one.name, "${var.name_prefix}-${key}") }

  # The execution role may write captured requests to these folders and use these keys, and no others.
  capture_uris = compact([for one in values(var.endpoints) : try(one.data_capture.destination_s3_uri, null)])
  kms_key_arns = compact(flatten([for one in values(var.endpoints) : [one.kms_key_arn, try(one.data_capture.kms_key_id, null)]]))

  created = merge(module.serverless_endpoint, module.realtime_endpoint)
  endpoints = { for key, one in var.endpoints : key => {
    endpoint_name      = local.created[key].endpoint_name
    endpoint_arn       = local.created[key].endpoint_arn
    configuration_name = local.created[key].configuration_name
    model_name         = module.model[one.model].model_name
    kind               = one.kind
  } }
}

module "artifact_store" {
  source = "../artifact-store"

  bucket_name   = local.bucket_name
  force_destroy = var.force_destroy
}

module "image_registry" {
  source   = "../image-registry"
  for_each = var.repositories

  name         = "${var.name_prefix}/${each.key}"
  force_delete = var.force_destroy
}

module "execution_role" {
  source = "../execution-role"

  name                 = "${var.name_prefix}-execution-${local.region}"
  endpoint_name_prefix = var.name_prefix
  bucket_arns          = [module.artifact_store.bucket_arn]
  repository_arns      = [for registry in module.image_registry : registry.repository_arn]
  in_vpc               = anytrue([for model in values(var.models) : model.vpc_config != null])
  kms_key_arns         = toset(local.kms_key_arns)
  capture_arns         = toset([for uri in local.capture_uris : "arn:${data.aws_partition.current.partition}:s3:::${trimsuffix(trimprefix(uri, "s3://"), "/")}/*"])
}

module "model" {
  source   = "../model"
  for_each = var.models

  name                  = local.model_names[each.key]
  image_uri             = each.value.image_uri
  model_data_url        = each.value.model_data_url
  model_data_sha256     = each.value.model_data_sha256
  model_data_version_id = each.value.model_data_version_id
  environment           = each.value.environment
  vpc_config            = each.value.vpc_config
  network_isolation     = each.value.network_isolation
  execution_role_arn    = module.execution_role.role_arn
}

module "serverless_endpoint" {
  source   = "../serverless-endpoint"
  for_each = { for key, one in var.endpoints : key => one if one.kind == "serverless" }

  name                      = local.endpoint_names[each.key]
  model_name                = module.model[each.value.model].model_name
  model_supports_serverless = module.model[each.value.model].supports_serverless
  memory_mb                 = each.value.memory_mb
  max_concurrency           = coalesce(each.value.max_concurrency, 1)
  provisioned_concurrency   = each.value.provisioned_concurrency
  provisioned_scaling       = each.value.provisioned_scaling
  log_retention_days        = var.log_retention_days
}

module "realtime_endpoint" {
  source   = "../realtime-endpoint"
  for_each = { for key, one in var.endpoints : key => one if one.kind == "realtime" }

  name                   = local.endpoint_names[each.key]
  model_name             = module.model[each.value.model].model_name
  instance_type          = each.value.instance_type
  initial_instance_count = coalesce(each.value.initial_instance_count, 1)
  autoscaling            = each.value.autoscaling
  guardrails             = each.value.guardrails
  data_capture           = each.value.data_capture
  kms_key_arn            = each.value.kms_key_arn
  log_retention_days     = var.log_retention_days
}

module "observability" {
  source = "../observability"
  count  = length(var.endpoints) > 0 ? 1 : 0

  name               = var.name_prefix
  endpoints          = { for key, one in local.endpoints : key => { endpoint_name = one.endpoint_name, kind = one.kind } }
  create_alarms      = var.create_alarms
  alarm_email        = var.alarm_email
  monthly_budget_usd = var.monthly_budget_usd
  budget_tag         = var.budget_tag
}
