# What ZenML's module leaves at AWS's defaults: the artifacts are medical images and what was learnt from them.
resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket                  = var.base.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "artifacts" {
  bucket = var.base.bucket
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  bucket = var.base.bucket
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "artifacts" {
  bucket = var.base.bucket
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  bucket     = var.base.bucket
  depends_on = [aws_s3_bucket_versioning.artifacts]

  rule {
    id     = "what-was-overwritten-or-deleted"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "what-endpoints-were-asked"
    status = "Enabled"
    filter {
      prefix = "diascope/captured/"
    }
    expiration {
      days = 90
    }
  }
}

data "aws_iam_policy_document" "encrypted_connections_only" {
  statement {
    sid       = "EncryptedConnectionsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket, "${local.bucket}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "artifacts" {
  bucket     = var.base.bucket
  policy     = data.aws_iam_policy_document.encrypted_connections_only.json
  depends_on = [aws_s3_bucket_public_access_block.artifacts]
}
