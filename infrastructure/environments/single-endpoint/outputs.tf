output "region" {
  description = "AWS region of all resources."
  value       = var.region
}

output "artifact_bucket" {
  description = "Name of the bucket for model archives."
  value       = module.deployment.bucket_name
}

output "repository_url" {
  description = "URL of the image repository."
  value       = one(values(module.deployment.repository_urls))
}

output "execution_role_arn" {
  description = "ARN of the role that SageMaker assumes to read the container image and the archive."
  value       = module.deployment.execution_role_arn
}

output "endpoint" {
  description = "endpoint_name, endpoint_arn, configuration_name, model_name and kind of the endpoint. For an asynchronous endpoint, also inputs_uri, results_uri, failures_uri and topic_arns. null if there is no endpoint."
  value       = one(values(module.deployment.endpoints))

  precondition {
    condition     = length(local.unknown_attributes) == 0
    error_message = "Unknown attributes, which would have no effect: ${join(", ", local.unknown_attributes)}. The description of the variable lists the attributes."
  }
}
