output "role_name" {
  description = "Name of the role."
  value       = aws_iam_role.this.name
}

output "role_arn" {
  description = "ARN of the role, once it may do what it needs to."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "policy_json" {
  description = "What the role may do."
  value       = aws_iam_role_policy.this.policy
}
