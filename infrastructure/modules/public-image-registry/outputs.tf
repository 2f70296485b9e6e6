output "repository_name" {
  description = "Name of the repository."
  value       = aws_ecrpublic_repository.this.repository_name
}

output "repository_uri" {
  description = "URL from which anybody can pull container images."
  value       = aws_ecrpublic_repository.this.repository_uri
}
