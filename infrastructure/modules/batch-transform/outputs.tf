output "role_arn" {
  description = "ARN of the jobs' role, for `drdeploy batch run --role`. It is available once the role's policy is attached."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "bucket_name" {
  description = "Name of the bucket, for `drdeploy batch run --bucket`."
  value       = module.store.bucket_name
}

output "policy_json" {
  description = "Policy of the role, as JSON."
  value       = aws_iam_role_policy.this.policy
}
