terraform {
  required_version = ">= 1.9.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Exactly the version whose schema is tested: see "The provider's lock" in ../../README.md.
      version = "6.25.0"
    }
  }

  # If several people deploy, keep the state in a bucket: copy backend.tf.example to backend.tf.
}

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}
