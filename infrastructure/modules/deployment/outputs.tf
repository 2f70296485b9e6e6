output "region" {
  description = "AWS region of all resources."
  value       = local.region
}

output "bucket_name" {
  description = "Name of the bucket for model archives."
  value       = module.artifact_store.bucket_name
}

output "repository_urls" {
  description = "URL of each image repository, by its name in repositories."
  value       = { for name, registry in module.image_registry : name => registry.repository_url }
}

output "execution_role_arn" {
  description = "ARN of the role that SageMaker assumes to read container images and archives."
  value       = module.execution_role.role_arn
}

output "models" {
  description = "Name and ARN of each model, by key."
  value       = { for key, model in module.model : key => { name = model.model_name, arn = model.model_arn } }
}

output "endpoints" {
  description = "By key: endpoint_name, endpoint_arn, configuration_name, model_name and kind of each endpoint. An asynchronous endpoint also has inputs_uri, results_uri, failures_uri and topic_arns; other endpoints have null."
  value       = local.endpoints
}
