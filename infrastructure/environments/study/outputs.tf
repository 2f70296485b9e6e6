output "region" {
  description = "AWS region of all resources."
  value       = var.region
}

output "artifact_bucket" {
  description = "Name of the bucket for model archives."
  value       = module.deployment.bucket_name
}

output "repository_urls" {
  description = "URL of each image repository, by its name in repositories."
  value       = module.deployment.repository_urls
}

output "execution_role_arn" {
  description = "ARN of the role that SageMaker assumes to read container images and archives."
  value       = module.deployment.execution_role_arn
}

output "models" {
  description = "Name and ARN of each model, by key."
  value       = module.deployment.models
}

output "endpoints" {
  description = "By key: endpoint_name, endpoint_arn, configuration_name, model_name and kind of each endpoint. An asynchronous endpoint also has inputs_uri, results_uri, failures_uri and topic_arns; other endpoints have null."
  value       = module.deployment.endpoints

  precondition {
    condition     = length(local.unknown_attributes) == 0
    error_message = "Unknown attributes, which would have no effect: ${join(", ", local.unknown_attributes)}. The description of the variable lists the attributes."
  }
}
