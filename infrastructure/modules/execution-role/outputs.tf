output "role_name" {
  description = "Name of the role."
  value       = aws_iam_role.this.name
}

output "role_arn" {
  description = "ARN of the role. It is available once the role's policy is attached."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "policy_json" {
  description = "Policy of the role, as JSON."
  value       = aws_iam_role_policy.this.policy
}
