output "endpoint_name" {
  description = "Name of the endpoint to which requests are sent."
  value       = aws_sagemaker_endpoint.this.name
}

output "endpoint_arn" {
  description = "ARN of the endpoint."
  value       = aws_sagemaker_endpoint.this.arn
}

output "configuration_name" {
  description = "Name of the endpoint configuration that is in service. It changes with the model and the instances."
  value       = aws_sagemaker_endpoint_configuration.this.name
}

output "configuration_arn" {
  description = "ARN of the endpoint configuration in service."
  value       = aws_sagemaker_endpoint_configuration.this.arn
}

output "endpoint_tags" {
  description = "Tags of the endpoint, including those of the provider."
  value       = aws_sagemaker_endpoint.this.tags_all
}

output "volume_key_arn" {
  description = "ARN of the key that encrypts the instances' volumes. null if SageMaker uses its own key."
  value       = local.volume_key_arn
}

output "log_group_name" {
  description = "Name of the CloudWatch log group with the containers' output."
  value       = aws_cloudwatch_log_group.this.name
}

output "guardrail_alarms" {
  description = "Names of the alarms that roll a deployment back; empty without guardrails."
  value       = concat(aws_cloudwatch_metric_alarm.errors[*].alarm_name, aws_cloudwatch_metric_alarm.latency[*].alarm_name)
}
