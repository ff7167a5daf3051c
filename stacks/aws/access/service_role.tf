# What the service runs as on SageMaker and Lambda: diascope-service. It writes logs, and answers where it was told to.
data "aws_iam_policy_document" "service_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [for each in ["sagemaker", "lambda"] : "${each}.amazonaws.com" if contains(var.targets, each)]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

locals {
  serves = length(setintersection(var.targets, ["sagemaker", "lambda"])) > 0
}

resource "aws_iam_role" "service" {
  count              = local.serves ? 1 : 0
  name               = "${var.name}-service"
  assume_role_policy = data.aws_iam_policy_document.service_trust.json
}

data "aws_iam_policy_document" "service" {
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    resources = [for each in aws_ecr_repository.service : each.arn]
  }

  statement {
    sid     = "Logs"
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = concat(
      [for each in local.service_names : "${local.logs}/aws/sagemaker/Endpoints/${each}*"],
      [for each in local.service_names : "${local.logs}/aws/lambda/${each}*"],
    )
  }

  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringLike"
      variable = "cloudwatch:namespace"
      values   = ["/aws/sagemaker/*", "aws/sagemaker*"]
    }
  }

  statement {
    sid       = "WhatWasAskedAndAnswered"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket}/diascope/captured/*", "${local.bucket}/diascope/results/*"]
  }

  dynamic "statement" {
    for_each = length(var.watched_buckets) > 0 ? ["images"] : []
    content {
      sid       = "NewImages"
      actions   = ["s3:GetObject", "s3:GetObjectVersion"]
      resources = [for each in var.watched_buckets : "arn:${local.partition}:s3:::${each}/*"]
    }
  }
}

resource "aws_iam_role_policy" "service" {
  count  = local.serves ? 1 : 0
  name   = "service"
  role   = aws_iam_role.service[0].id
  policy = data.aws_iam_policy_document.service.json
}

# What ECS starts a task with; the task itself has no role, for the service asks nothing of AWS.
data "aws_iam_policy_document" "ecs_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "ecs" {
  count              = contains(var.targets, "ecs") ? 1 : 0
  name               = "${var.name}-ecs-execution"
  assume_role_policy = data.aws_iam_policy_document.ecs_trust.json
}

data "aws_iam_policy_document" "ecs" {
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    resources = [for each in aws_ecr_repository.service : each.arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.logs}/diascope/ecs/*:log-stream:*"]
  }
}

resource "aws_iam_role_policy" "ecs" {
  count  = contains(var.targets, "ecs") ? 1 : 0
  name   = "start"
  role   = aws_iam_role.ecs[0].id
  policy = data.aws_iam_policy_document.ecs.json
}
