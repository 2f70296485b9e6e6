output "policy_json" {
  description = "The policy, as JSON."
  value       = local.policy
}

output "policy_arn" {
  description = "ARN of the policy; null where create is false."
  value       = one(aws_iam_policy.this[*].arn)
}
