# What ZenML's service connector becomes, and with it everyone who uses the stack: diascope-stack.
data "aws_iam_policy_document" "stack_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = concat(compact([var.servers.machine_role]), var.connector_principals)
    }
  }
}

resource "aws_iam_role" "stack" {
  name               = "${var.name}-stack"
  assume_role_policy = data.aws_iam_policy_document.stack_trust.json

  lifecycle {
    precondition {
      condition     = var.servers.machine_role != null || length(var.connector_principals) > 0
      error_message = "Nobody could use the stack: name the ZenML server's role in connector_principals."
    }
  }
}

data "aws_iam_policy_document" "pipelines" {
  statement {
    sid       = "Buckets"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetBucketVersioning"]
    resources = [local.bucket]
  }

  statement {
    sid = "Artifacts"
    actions = [
      "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    ]
    resources = ["${local.bucket}/*"]
  }

  dynamic "statement" {
    for_each = local.mlflow_buckets # where clients of our MLflow write artifacts themselves
    content {
      sid       = "MlflowArtifacts"
      actions   = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
      resources = [statement.value, "${statement.value}/*"]
    }
  }

  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "WhichRepositories"
    actions   = ["ecr:DescribeRepositories"]
    resources = ["${local.here.ecr}:repository/*"]
  }

  statement {
    sid = "Images"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
    ]
    resources = local.repositories
  }

  statement {
    sid = "Pipelines"
    actions = [
      "sagemaker:AddTags", "sagemaker:CreatePipeline", "sagemaker:DescribePipeline",
      "sagemaker:DescribePipelineExecution", "sagemaker:ListPipelineExecutionSteps",
      "sagemaker:StartPipelineExecution", "sagemaker:StopPipelineExecution",
    ]
    resources = ["${local.here.sagemaker}:pipeline/*"]
  }

  statement {
    sid = "Jobs"
    actions = [
      "sagemaker:DescribeProcessingJob", "sagemaker:DescribeTrainingJob", "sagemaker:StopProcessingJob",
      "sagemaker:StopTrainingJob",
    ]
    resources = ["${local.here.sagemaker}:processing-job/*", "${local.here.sagemaker}:training-job/*"]
  }

  statement {
    sid       = "WithoutResources"
    actions   = ["sagemaker:ListDomains", "sagemaker:ListPipelines"]
    resources = ["*"]
  }

  statement {
    sid       = "StepsRole"
    actions   = ["iam:GetRole"]
    resources = [aws_iam_role.steps.arn]
  }

  statement {
    sid       = "StepsRoleForSageMaker"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.steps.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["sagemaker.amazonaws.com"]
    }
  }

  statement {
    sid     = "Logs"
    actions = ["logs:GetLogEvents", "logs:DescribeLogStreams"]
    resources = [
      "${local.logs}/aws/sagemaker/TrainingJobs*", "${local.logs}/aws/sagemaker/ProcessingJobs*",
    ]
  }

  dynamic "statement" {
    for_each = compact([var.base.codebuild_project])
    content {
      sid       = "Builds"
      actions   = ["codebuild:BatchGetBuilds", "codebuild:BatchGetProjects", "codebuild:StartBuild"]
      resources = ["${local.here.codebuild}:project/${statement.value}"]
    }
  }
}

resource "aws_iam_policy" "pipelines" {
  name   = "${var.name}-pipelines"
  policy = data.aws_iam_policy_document.pipelines.json
}

resource "aws_iam_role_policy_attachment" "pipelines" {
  role       = aws_iam_role.stack.name
  policy_arn = aws_iam_policy.pipelines.arn
}

resource "aws_iam_policy" "target" {
  for_each = { for target, policy in local.target_policies : target => policy if contains(var.targets, target) }
  name     = "${var.name}-deploys-to-${each.key}"
  policy   = each.value
}

resource "aws_iam_role_policy_attachment" "target" {
  for_each   = aws_iam_policy.target
  role       = aws_iam_role.stack.name
  policy_arn = each.value.arn
}

locals {
  target_policies = {
    sagemaker = data.aws_iam_policy_document.to_sagemaker.json
    lambda    = data.aws_iam_policy_document.to_lambda.json
    ecs       = data.aws_iam_policy_document.to_ecs.json
  }
}
