output "model_name" {
  description = "Name of the model; changes with its image, archive and settings."
  value       = aws_sagemaker_model.this.name
}

output "model_arn" {
  description = "ARN of the model."
  value       = aws_sagemaker_model.this.arn
}

output "supports_serverless" {
  description = "Whether a serverless endpoint can serve the model. It can, if the model has neither a VPC nor network isolation."
  value       = var.vpc_config == null && !var.network_isolation
}
