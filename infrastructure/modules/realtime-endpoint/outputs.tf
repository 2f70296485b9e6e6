output "endpoint_name" {
  description = "Name of the endpoint, which requests are sent to."
  value       = aws_sagemaker_endpoint.this.name
}

output "endpoint_arn" {
  description = "ARN of the endpoint."
  value       = aws_sagemaker_endpoint.this.arn
}

output "configuration_name" {
  description = "Name of the endpoint configuration in service; changes with the model and the instances."
  value       = aws_sagemaker_endpoint_configuration.this.name
}

output "log_group_name" {
  description = "Name of the log group that the containers' output goes to."
  value       = aws_cloudwatch_log_group.this.name
}

output "guardrail_alarms" {
  description = "Names of the alarms that roll a deployment back."
  value       = [aws_cloudwatch_metric_alarm.errors.alarm_name, aws_cloudwatch_metric_alarm.latency.alarm_name]
}
