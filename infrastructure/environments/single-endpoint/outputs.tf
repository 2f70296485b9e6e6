output "region" {
  description = "Where everything is."
  value       = var.region
}

output "artifact_bucket" {
  description = "Name of the bucket for model archives."
  value       = module.artifact_store.bucket_name
}

output "repository_url" {
  description = "URL of the image repository."
  value       = module.image_registry.repository_url
}

output "execution_role_arn" {
  description = "What SageMaker assumes to read image and archive."
  value       = module.execution_role.role_arn
}

output "endpoint" {
  description = "endpoint_name, endpoint_arn, configuration_name, model_name and kind; null as long as there is none."
  value       = local.endpoint
}
