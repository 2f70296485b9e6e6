output "repository_name" {
  description = "Name of the repository."
  value       = aws_ecr_repository.this.name
}

output "repository_arn" {
  description = "ARN of the repository."
  value       = aws_ecr_repository.this.arn
}

output "repository_url" {
  description = "URL to which images are pushed. With @sha256:… behind it, the URL names an image."
  value       = aws_ecr_repository.this.repository_url
}
