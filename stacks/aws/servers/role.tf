# What the machine may do: its secrets, its bucket, and, for ZenML's service connector, become the stack's role.
data "aws_iam_policy_document" "machine_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "machine" {
  count              = local.machine ? 1 : 0
  name               = "${var.name}-servers"
  assume_role_policy = data.aws_iam_policy_document.machine_trust.json
}

resource "aws_iam_instance_profile" "machine" {
  count = local.machine ? 1 : 0
  name  = "${var.name}-servers"
  role  = aws_iam_role.machine[0].name
}

data "aws_iam_policy_document" "machine" {
  statement {
    sid       = "Secrets"
    actions   = ["ssm:GetParameter", "ssm:PutParameter"]
    resources = [for secret in aws_ssm_parameter.secret : secret.arn]
  }

  statement {
    sid       = "Bucket"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.mlflow.arn]
  }

  statement {
    sid = "Artifacts"
    actions = [
      "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    ]
    resources = ["${aws_s3_bucket.mlflow.arn}/*"]
  }

  dynamic "statement" {
    for_each = var.zenml ? ["the stack's role"] : []
    content {
      sid       = "Connector"
      actions   = ["sts:AssumeRole"]
      resources = ["${local.roles}/${var.name}-stack"]
    }
  }
}

resource "aws_iam_role_policy" "machine" {
  count  = local.machine ? 1 : 0
  name   = "servers"
  role   = aws_iam_role.machine[0].id
  policy = data.aws_iam_policy_document.machine.json
}

resource "aws_iam_role_policy_attachment" "shell" {
  count      = local.machine && var.shell ? 1 : 0
  role       = aws_iam_role.machine[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}
