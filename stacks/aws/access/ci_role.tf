# What a workflow becomes for an hour, by GitHub's or Jenkins' word for who it is: diascope-ci. No key is stored.
#
# Runs and deployments use the stack's service connector. This role only finds out, before anything is paid for, whether
# what the stack needs is there (python -m stacks.aws).
locals {
  github = var.github_repository == null ? {} : {
    github = {
      issuer   = "token.actions.githubusercontent.com"
      subjects = [for each in var.github_environments : "repo:${var.github_repository}:environment:${each}"]
    }
  }
  identities = merge(local.github, var.jenkins == null ? {} : { jenkins = var.jenkins })
  has_ci     = length(local.identities) > 0

  known_providers = var.github_oidc_provider == null ? {} : { github = var.github_oidc_provider }
  new_providers = {
    for who, identity in local.identities : who => identity if !contains(keys(local.known_providers), who)
  }
}

resource "aws_iam_openid_connect_provider" "ci" {
  for_each       = local.new_providers
  url            = "https://${each.value.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "ci_trust" {
  dynamic "statement" {
    for_each = local.identities
    content {
      sid     = title(statement.key)
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = [try(aws_iam_openid_connect_provider.ci[statement.key].arn, local.known_providers[statement.key])]
      }

      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }

      condition {
        test     = "StringEquals" # not StringLike: a pattern lets branches and forks in
        variable = "${statement.value.issuer}:sub"
        values   = statement.value.subjects
      }
    }
  }
}

resource "aws_iam_role" "ci" {
  count                = local.has_ci ? 1 : 0
  name                 = "${var.name}-ci"
  assume_role_policy   = data.aws_iam_policy_document.ci_trust.json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "ci" {
  statement {
    sid       = "Bucket"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [local.bucket]
  }

  statement {
    sid       = "Roles"
    actions   = ["iam:GetRole"]
    resources = [aws_iam_role.steps.arn]
  }

  statement {
    sid       = "WithoutResources"
    actions   = ["ecr:GetAuthorizationToken", "sagemaker:ListPipelines"]
    resources = ["*"]
  }

  statement {
    sid = "MayWePush" # an upload is begun and given up: PutImage, which would finish one, is not among them
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:DescribeRepositories", "ecr:InitiateLayerUpload",
    ]
    resources = [local.steps_repository]
  }

  dynamic "statement" {
    for_each = compact([var.base.codebuild_project])
    content {
      sid       = "Builder"
      actions   = ["codebuild:BatchGetProjects"]
      resources = ["${local.here.codebuild}:project/${statement.value}"]
    }
  }
}

resource "aws_iam_role_policy" "ci" {
  count  = local.has_ci ? 1 : 0
  name   = "checks"
  role   = aws_iam_role.ci[0].id
  policy = data.aws_iam_policy_document.ci.json
}
