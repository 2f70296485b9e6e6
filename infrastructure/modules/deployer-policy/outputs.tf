output "policy_json" {
  description = "The policies by part (hosting, storage, watching), as JSON; a deployer needs all three."
  value       = local.policy
}

output "policy_arns" {
  description = "ARNs of the policies to attach to each deployer; empty if create is false."
  value       = [for policy in aws_iam_policy.this : policy.arn]
}

output "boundary_json" {
  description = "The permissions boundary of the deployer's roles, as JSON; null if permissions_boundary_arn names another boundary."
  value       = var.permissions_boundary_arn == null ? local.boundary : null
}

output "boundary_arn" {
  description = "ARN of the permissions boundary that every role of the deployer must have."
  value       = local.boundary_arn
  depends_on  = [aws_iam_policy.boundary]
}
