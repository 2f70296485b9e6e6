output "role_arn" {
  description = "ARN of the role that sends the requests."
  value       = aws_iam_role.this.arn
}

output "schedule_names" {
  description = "Names of the schedules."
  value       = sort(keys(aws_scheduler_schedule.this))
}
