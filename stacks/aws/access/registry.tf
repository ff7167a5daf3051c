# A repository for each model that is served, scanned when an image comes. Tags may move, since a version that is
# deployed again takes the place of the first; what is deployed is named by its digest.
resource "aws_ecr_repository" "service" {
  for_each             = var.services
  name                 = "${var.base.repository}/${each.key}"
  image_tag_mutability = "MUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "service" {
  for_each   = aws_ecr_repository.service
  repository = each.value.name
  policy     = local.expire_untagged
}

resource "aws_ecr_lifecycle_policy" "steps" {
  repository = var.base.repository
  policy = jsonencode({ rules = [{
    rulePriority = 1
    description  = "Step images are built again where one is missing"
    selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
    action       = { type = "expire" }
  }] })
}

locals {
  expire_untagged = jsonencode({ rules = [{
    rulePriority = 1
    description  = "What lost its tag to a second deployment; long enough to go back"
    selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 90 }
    action       = { type = "expire" }
  }] })
}

# Lambda fetches the image itself, as a service and not as the function's role.
data "aws_iam_policy_document" "lambda_pulls" {
  statement {
    sid     = "LambdaPulls"
    actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "aws:sourceArn"
      values   = ["${local.here.lambda}:function:*"]
    }
  }
}

resource "aws_ecr_repository_policy" "service" {
  for_each   = contains(var.targets, "lambda") ? aws_ecr_repository.service : {}
  repository = each.value.name
  policy     = data.aws_iam_policy_document.lambda_pulls.json
}
