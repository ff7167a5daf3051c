# A repository for each model that is served, scanned when an image comes. Tags may move, since a version that is
# deployed again takes the place of the first; what is deployed is named by its digest. Nothing expires: a target may
# serve an image that has lost its tag, and ZenML never asks whether a step image is still there. An image costs about
# 0.02 USD a month; delete what nothing uses by hand.
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
