output "dashboard_name" {
  description = "Name of the dashboard in CloudWatch."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "Names of every alarm."
  value = concat(
    [for one in aws_cloudwatch_metric_alarm.latency : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.errors : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.setup : one.alarm_name],
  )
}

output "topic_arn" {
  description = "Whom alarms tell; null where nobody is."
  value       = one(aws_sns_topic.this[*].arn)
}
