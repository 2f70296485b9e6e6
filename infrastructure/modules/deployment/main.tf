data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region      = data.aws_region.current.region
  bucket_name = coalesce(var.bucket_name, "${var.name_prefix}-artifacts-${data.aws_caller_identity.current.account_id}-${local.region}")

  model_names    = { for key, model in var.models : key => coalesce(model.name, "${var.name_prefix}-${key}") }
  endpoint_names = { for key, one in var.endpoints : key => coalesce(one.name, "${var.name_prefix}-${key}") }

  # The execution role may write captured requests to these folders and use these keys, and no others.
  captures_uri = "s3://${local.bucket_name}/captured/"
  captures = { for key, one in var.endpoints : key => merge(one.data_capture, {
    destination_s3_uri = coalesce(one.data_capture.destination_s3_uri, "${local.captures_uri}${local.endpoint_names[key]}")
  }) if one.data_capture != null }
  kms_key_arns = distinct(compact(flatten([var.kms_key_arn, [for one in values(var.endpoints) : [one.kms_key_arn, try(one.data_capture.kms_key_id, null)]]])))

  # An asynchronous endpoint has a bucket of its own, where patients' photographs and grades expire.
  results_buckets = { for key, one in var.endpoints : key => "${var.name_prefix}-results-${substr(sha256(key), 0, 4)}-${data.aws_caller_identity.current.account_id}-${local.region}" if one.kind == "asynchronous" }

  created = merge(module.serverless_endpoint, module.realtime_endpoint, module.asynchronous_endpoint)
  endpoints = { for key, one in var.endpoints : key => {
    endpoint_name      = local.created[key].endpoint_name
    endpoint_arn       = local.created[key].endpoint_arn
    configuration_name = local.created[key].configuration_name
    model_name         = module.model[one.model].model_name
    kind               = one.kind
    inputs_uri         = try(module.asynchronous_endpoint[key].inputs_uri, null)
    results_uri        = try(module.asynchronous_endpoint[key].results_uri, null)
    failures_uri       = try(module.asynchronous_endpoint[key].failures_uri, null)
    topic_arns         = try(module.asynchronous_endpoint[key].topic_arns, null)
  } }
}

module "artifact_store" {
  source = "../artifact-store"

  bucket_name            = local.bucket_name
  force_destroy          = var.force_destroy
  capture_retention_days = var.capture_retention_days
  kms_key_arn            = var.kms_key_arn
}

module "image_registry" {
  source   = "../image-registry"
  for_each = var.repositories

  name         = "${var.name_prefix}/${each.key}"
  force_delete = var.force_destroy
  kms_key_arn  = var.kms_key_arn
}

module "execution_role" {
  source = "../execution-role"

  name                     = "${var.name_prefix}-execution-${local.region}"
  permissions_boundary_arn = var.permissions_boundary_arn
  endpoint_name_prefix     = var.name_prefix
  bucket_arns              = [module.artifact_store.bucket_arn]
  repository_arns          = [for registry in module.image_registry : registry.repository_arn]
  in_vpc                   = anytrue([for model in values(var.models) : model.vpc_config != null])
  kms_key_arns             = toset(local.kms_key_arns)
  capture_arns             = toset([for one in values(local.captures) : "arn:${data.aws_partition.current.partition}:s3:::${trimsuffix(trimprefix(one.destination_s3_uri, "s3://"), "/")}/*"])
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
  cuda_version              = var.models[each.value.model].cuda_version
  memory_mb                 = each.value.memory_mb
  max_concurrency           = coalesce(each.value.max_concurrency, 1)
  provisioned_concurrency   = each.value.provisioned_concurrency
  provisioned_scaling       = each.value.provisioned_scaling
  log_retention_days        = var.log_retention_days
  kms_key_arn               = var.kms_key_arn
}

module "realtime_endpoint" {
  source   = "../realtime-endpoint"
  for_each = { for key, one in var.endpoints : key => one if one.kind == "realtime" }

  name                   = local.endpoint_names[each.key]
  model_name             = module.model[each.value.model].model_name
  instance_type          = each.value.instance_type
  inference_ami_version  = each.value.inference_ami_version
  cuda_version           = var.models[each.value.model].cuda_version
  initial_instance_count = coalesce(each.value.initial_instance_count, 1)
  autoscaling            = each.value.autoscaling
  guardrails             = each.value.guardrails
  has_guardrails         = each.value.opening_hours == null
  data_capture           = lookup(local.captures, each.key, null)
  kms_key_arn            = try(coalesce(each.value.kms_key_arn, var.kms_key_arn), null)
  log_retention_days     = var.log_retention_days
}

module "asynchronous_endpoint" {
  source   = "../asynchronous-endpoint"
  for_each = { for key, one in var.endpoints : key => one if one.kind == "asynchronous" }

  name                   = local.endpoint_names[each.key]
  model_name             = module.model[each.value.model].model_name
  execution_role_name    = module.execution_role.role_name
  instance_type          = each.value.instance_type
  inference_ami_version  = each.value.inference_ami_version
  cuda_version           = var.models[each.value.model].cuda_version
  initial_instance_count = coalesce(each.value.initial_instance_count, 1)
  bucket_name            = local.results_buckets[each.key]
  retention_days         = var.capture_retention_days
  force_destroy          = var.force_destroy
  kms_key_arn            = try(coalesce(each.value.kms_key_arn, var.kms_key_arn), null)
  log_retention_days     = var.log_retention_days

  alarms = { topic_arns = compact([one(module.observability[*].topic_arn)]) }

  max_concurrent_invocations_per_instance = each.value.max_concurrent_invocations_per_instance

  # If autoscaling is null, the endpoint scales between no instance and initial_instance_count
  # instances.
  autoscaling = { for name, value in merge({ max_capacity = coalesce(each.value.initial_instance_count, 1) }, each.value.autoscaling) : name => value if value != null && name != "target_invocations_per_minute" }
}

# Created only if an endpoint has keep_warm.
module "keep_warm" {
  source = "../keep-warm"
  count  = anytrue([for one in values(var.endpoints) : one.keep_warm != null]) ? 1 : 0

  name                     = "${var.name_prefix}-keep-warm-${local.region}"
  permissions_boundary_arn = var.permissions_boundary_arn
  endpoints = { for key, one in var.endpoints : key => merge(one.keep_warm, {
    endpoint_name = module.serverless_endpoint[key].endpoint_name
    endpoint_arn  = module.serverless_endpoint[key].endpoint_arn
  }) if one.keep_warm != null && one.kind == "serverless" }
}

# Created only if an endpoint has opening_hours.
module "opening_hours" {
  source = "../opening-hours"
  count  = anytrue([for one in values(var.endpoints) : one.opening_hours != null]) ? 1 : 0

  name                     = "${var.name_prefix}-opening-hours-${local.region}"
  permissions_boundary_arn = var.permissions_boundary_arn
  endpoints = { for key, one in var.endpoints : key => {
    endpoint_name      = module.realtime_endpoint[key].endpoint_name
    endpoint_arn       = module.realtime_endpoint[key].endpoint_arn
    configuration_name = module.realtime_endpoint[key].configuration_name
    configuration_arn  = module.realtime_endpoint[key].configuration_arn
    tags               = module.realtime_endpoint[key].endpoint_tags
    volume_key_arn     = module.realtime_endpoint[key].volume_key_arn
    schedules          = one.opening_hours.schedules
  } if one.opening_hours != null && one.kind == "realtime" }
}

module "observability" {
  source = "../observability"
  count  = length(var.endpoints) > 0 ? 1 : 0

  name               = var.name_prefix
  endpoints          = { for key, one in var.endpoints : key => { endpoint_name = local.endpoint_names[key], kind = one.kind } }
  kms_key_arn        = var.kms_key_arn
  create_alarms      = var.create_alarms
  alarm_email        = var.alarm_email
  monthly_budget_usd = var.monthly_budget_usd
  budget_tag         = var.budget_tag
}
