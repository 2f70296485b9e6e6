output "key_arn" {
  description = "ARN of the key: kms_key_arn of the environments, and one of kms_key_arns of modules/deployer-policy."
  value       = aws_kms_key.this.arn
}

output "policy_json" {
  description = "Policy of the key, as JSON."
  value       = local.policy
}
