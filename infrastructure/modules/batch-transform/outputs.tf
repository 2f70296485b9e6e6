output "role_arn" {
  description = "ARN of the role for --role of drdeploy batch run, available once its policy is attached."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "bucket_name" {
  description = "Name of the bucket for --bucket of drdeploy batch run."
  value       = module.store.bucket_name
}

output "policy_json" {
  description = "Policy of the role, as JSON."
  value       = aws_iam_role_policy.this.policy
}
