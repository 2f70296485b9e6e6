data "aws_region" "current" {}

resource "aws_ecrpublic_repository" "this" {
  repository_name = var.name
  force_destroy   = var.force_destroy
  tags            = var.tags

  catalog_data {
    description       = var.description
    architectures     = var.architectures
    operating_systems = ["Linux"]
    about_text        = var.description
    usage_text        = "docker pull, then `docker run -p 8080:8080 IMAGE serve`. Research use, not a medical device."
  }

  lifecycle {
    precondition {
      condition     = data.aws_region.current.region == "us-east-1"
      error_message = "The provider's region must be us-east-1, the only one with public repositories, not ${data.aws_region.current.region}."
    }
  }
}
