output "model_name" {
  description = "Name of the model; changes with what it is made of."
  value       = aws_sagemaker_model.this.name
}

output "model_arn" {
  description = "ARN of the model."
  value       = aws_sagemaker_model.this.arn
}

output "supports_serverless" {
  description = "Whether a serverless endpoint can serve it: not in a VPC, not isolated."
  value       = var.vpc_config == null && !var.network_isolation
}
