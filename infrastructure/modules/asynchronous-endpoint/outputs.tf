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

output "inputs_uri" {
  description = "Folder of the bucket to which inputs may be uploaded. null if input_arns names other folders."
  value       = length(var.input_arns) > 0 ? null : "s3://${module.results.bucket_name}/${local.folder}inputs/"
}

output "results_uri" {
  description = "Folder to which results are written."
  value       = local.results_uri
}

output "failures_uri" {
  description = "Folder to which failures are written."
  value       = local.failures_uri
}

output "topic_arns" {
  description = "ARNs of the two SNS topics, with the keys completed and failed. The first topic gets a message for each completed request, and the second for each failed request."
  value       = { for name, topic in aws_sns_topic.this : name => topic.arn }
}

output "alarm_names" {
  description = "Names of the alarms."
  value = [
    aws_cloudwatch_metric_alarm.waiting_without_instances.alarm_name,
    aws_cloudwatch_metric_alarm.age.alarm_name,
    aws_cloudwatch_metric_alarm.failures.alarm_name,
  ]
}
