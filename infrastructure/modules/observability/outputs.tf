output "dashboard_name" {
  description = "Name of the dashboard in CloudWatch."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "Names of the alarms."
  value       = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name]
}

output "topic_arn" {
  description = "ARN of the topic to which alarms are published; null without alarm_email."
  value       = one(aws_sns_topic.this[*].arn)
}
