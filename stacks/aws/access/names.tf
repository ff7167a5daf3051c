data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  bucket    = "arn:${local.partition}:s3:::${var.base.bucket}"
  roles     = "arn:${local.partition}:iam::${local.account}:role"
  logs      = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:"
  here = {
    for service in local.services : service => "arn:${local.partition}:${service}:${var.region}:${local.account}"
  }
  services = [
    "application-autoscaling", "cloudwatch", "codebuild", "ec2", "ecr", "ecs", "elasticloadbalancing", "lambda",
    "sagemaker",
  ]

  steps_repository = "${local.here.ecr}:repository/${var.base.repository}"
  repositories     = concat([local.steps_repository], [for each in aws_ecr_repository.service : each.arn])
  # As the targets call what they make of a model.
  service_names = [for each in var.services : replace(replace(each, ".", "-"), "_", "-")]

  mlflow_buckets = [for each in compact([var.servers.mlflow_bucket]) : "arn:${local.partition}:s3:::${each}"]
}
