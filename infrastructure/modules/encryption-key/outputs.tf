output "key_arn" {
  description = "ARN of the key. Pass it to the environments as kms_key_arn, and to modules/deployer-policy as one of kms_key_arns."
  value       = aws_kms_key.this.arn
}

output "policy_json" {
  description = "Policy of the key, as JSON."
  value       = local.policy
}
