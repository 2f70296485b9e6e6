data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  tags = merge({ "drdeploy:endpoint" = var.name_prefix, "drdeploy:managed-by" = "terraform" }, var.tags)

  bucket_name = coalesce(
    var.bucket_name,
    "${var.name_prefix}-artifacts-${data.aws_caller_identity.current.account_id}-${var.region}",
  )

  kind   = try(var.endpoint.kind, "")
  hosted = one(concat(module.serverless_endpoint[*], module.realtime_endpoint[*]))

  endpoint = var.endpoint == null ? null : {
    endpoint_name      = local.hosted.endpoint_name
    endpoint_arn       = local.hosted.endpoint_arn
    configuration_name = local.hosted.configuration_name
    model_name         = module.model[0].model_name
    kind               = local.kind
  }

  capture_uris = compact([try(var.endpoint.data_capture.destination_s3_uri, null)])
  kms_key_arns = compact([try(var.endpoint.kms_key_arn, null), try(var.endpoint.data_capture.kms_key_id, null)])
}

module "artifact_store" {
  source = "../../modules/artifact-store"

  bucket_name   = local.bucket_name
  force_destroy = var.force_destroy
}

module "image_registry" {
  source = "../../modules/image-registry"

  name         = "${var.name_prefix}/drdeploy"
  force_delete = var.force_destroy
}

module "execution_role" {
  source = "../../modules/execution-role"

  name                 = "${var.name_prefix}-execution-${var.region}"
  endpoint_name_prefix = var.name_prefix
  bucket_arns          = [module.artifact_store.bucket_arn]
  repository_arns      = [module.image_registry.repository_arn]
  in_vpc               = try(var.model.vpc_config, null) != null
  kms_key_arns         = toset(local.kms_key_arns)
  capture_arns         = toset([for uri in local.capture_uris : "arn:${data.aws_partition.current.partition}:s3:::${trimsuffix(trimprefix(uri, "s3://"), "/")}/*"])
}

module "model" {
  source = "../../modules/model"
  count  = var.model == null ? 0 : 1

  name                  = var.name_prefix
  image_uri             = var.model.image_uri
  model_data_url        = var.model.model_data_url
  model_data_sha256     = var.model.model_data_sha256
  model_data_version_id = var.model.model_data_version_id
  environment           = var.model.environment
  vpc_config            = var.model.vpc_config
  network_isolation     = var.model.network_isolation
  execution_role_arn    = module.execution_role.role_arn
}

module "serverless_endpoint" {
  source = "../../modules/serverless-endpoint"
  count  = local.kind == "serverless" ? 1 : 0

  name                      = var.name_prefix
  model_name                = module.model[0].model_name
  model_supports_serverless = module.model[0].supports_serverless
  memory_mb                 = var.endpoint.memory_mb
  max_concurrency           = coalesce(var.endpoint.max_concurrency, 1)
  provisioned_concurrency   = var.endpoint.provisioned_concurrency
  provisioned_scaling       = var.endpoint.provisioned_scaling
  log_retention_days        = var.log_retention_days
}

module "realtime_endpoint" {
  source = "../../modules/realtime-endpoint"
  count  = local.kind == "realtime" ? 1 : 0

  name                   = var.name_prefix
  model_name             = module.model[0].model_name
  instance_type          = var.endpoint.instance_type
  initial_instance_count = coalesce(var.endpoint.initial_instance_count, 1)
  autoscaling            = var.endpoint.autoscaling
  guardrails             = var.endpoint.guardrails
  data_capture           = var.endpoint.data_capture
  kms_key_arn            = var.endpoint.kms_key_arn
  log_retention_days     = var.log_retention_days
}

module "observability" {
  source = "../../modules/observability"
  count  = var.endpoint == null ? 0 : 1

  name               = var.name_prefix
  endpoints          = { endpoint = { endpoint_name = local.hosted.endpoint_name, kind = local.kind } }
  create_alarms      = var.create_alarms
  alarm_email        = var.alarm_email
  monthly_budget_usd = var.monthly_budget_usd
  budget_tag         = { key = "drdeploy:endpoint", value = var.name_prefix }
}
