output "endpoint_name" {
  description = "Name of the endpoint to which requests are sent."
  value       = aws_sagemaker_endpoint.this.name
}

output "endpoint_arn" {
  description = "ARN of the endpoint."
  value       = aws_sagemaker_endpoint.this.arn
}

output "configuration_name" {
  description = "Name of the endpoint configuration that is in service. It changes with the model and the memory size."
  value       = aws_sagemaker_endpoint_configuration.this.name
}

output "log_group_name" {
  description = "Name of the CloudWatch log group with the containers' output."
  value       = aws_cloudwatch_log_group.this.name
}
