output "policy_json" {
  description = "Text of the policy."
  value       = local.policy
}

output "policy_arn" {
  description = "ARN of the policy; null where none is made."
  value       = one(aws_iam_policy.this[*].arn)
}
