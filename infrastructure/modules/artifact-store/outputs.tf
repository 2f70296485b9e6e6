output "bucket_name" {
  description = "Name of the bucket. It is available once encryption, versioning and access are set."
  value       = aws_s3_bucket_policy.this.bucket
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}
