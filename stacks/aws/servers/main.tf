# The servers that a remote stack needs: one small machine with MLflow and ZenML, reached through HTTPS APIs.
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  ports = merge(var.mlflow ? { mlflow = 5000 } : {}, var.zenml ? { zenml = 8080 } : {})
  secrets = concat(
    var.mlflow ? ["mlflow-password", "mlflow-key"] : [],
    var.zenml ? ["zenml-password", "zenml-key", "zenml-encryption"] : [],
  )
  machine = length(local.ports) > 0
  roles   = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role"
  urls    = { for server, api in aws_apigatewayv2_api.server : server => api.api_endpoint }

  # The machine installs the versions that the project is tested with.
  pinned = [
    for line in split("\n", file("${path.module}/../../../requirements/aws.txt")) :
    trimspace(trimsuffix(line, "\\")) if can(regex("^[a-z0-9][^ ]*==", line))
  ]
}

# The machine makes these itself at its first start; Terraform only gives them a place, and never reads them.
resource "aws_ssm_parameter" "secret" {
  for_each         = toset(local.secrets)
  name             = "/${var.name}/${each.key}"
  description      = "Made by the machine at its first start"
  type             = "SecureString"
  value_wo         = "unset"
  value_wo_version = 1
}

data "aws_ami" "linux" {
  count       = local.machine && var.ami == null ? 1 : 0
  most_recent = true
  owners      = ["amazon"]

  filter {
    name   = "name"
    values = ["al2023-ami-2023.*-kernel-*-arm64"]
  }
}

resource "aws_ebs_volume" "data" {
  count             = local.machine ? 1 : 0
  availability_zone = aws_subnet.servers[0].availability_zone
  size              = var.volume_gb
  type              = "gp3"
  encrypted         = true
  tags              = { Name = "${var.name}-servers" }
}

resource "aws_volume_attachment" "data" {
  count                          = local.machine ? 1 : 0
  device_name                    = "/dev/sdf"
  volume_id                      = aws_ebs_volume.data[0].id
  instance_id                    = aws_instance.servers[0].id
  stop_instance_before_detaching = true # no database is cut off in the middle of a write
}

resource "aws_instance" "servers" {
  count                       = local.machine ? 1 : 0
  ami                         = var.ami != null ? var.ami : data.aws_ami.linux[0].id
  instance_type               = var.instance_type
  subnet_id                   = aws_subnet.servers[0].id
  associate_public_ip_address = true # the way out; the security group lets nobody in by it
  vpc_security_group_ids      = [aws_security_group.machine.id]
  iam_instance_profile        = aws_iam_instance_profile.machine[0].name
  user_data_replace_on_change = true # the databases are on the volume, which stays

  user_data_base64 = base64gzip(templatefile("${path.module}/start.sh.tftpl", {
    name    = var.name
    region  = var.region
    bucket  = aws_s3_bucket.mlflow.bucket
    servers = keys(local.ports)
    volume  = replace(aws_ebs_volume.data[0].id, "-", "")
    urls    = local.urls
    pinned  = local.pinned
  }))

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_type = "gp3"
    volume_size = 10
  }

  lifecycle {
    ignore_changes = [ami] # a newer image comes with the next replacement, not by surprise
  }

  tags       = { Name = "${var.name}-servers" }
  depends_on = [aws_iam_role_policy.machine, aws_route_table_association.servers]
}
