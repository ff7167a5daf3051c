# A network of its own with a way out and no way in but the API's private link: no NAT gateway, no load balancer.
data "aws_availability_zones" "here" {
  state = "available"
}

resource "aws_vpc" "servers" {
  cidr_block           = "10.42.0.0/24"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_subnet" "servers" {
  count             = 2
  vpc_id            = aws_vpc.servers.id
  availability_zone = data.aws_availability_zones.here.names[count.index]
  cidr_block        = cidrsubnet(aws_vpc.servers.cidr_block, 2, count.index)
  tags              = { Name = "${var.name}-${count.index}" }
}

resource "aws_internet_gateway" "servers" {
  vpc_id = aws_vpc.servers.id
}

resource "aws_route_table" "servers" {
  vpc_id = aws_vpc.servers.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.servers.id
  }
}

resource "aws_route_table_association" "servers" {
  count          = length(aws_subnet.servers)
  subnet_id      = aws_subnet.servers[count.index].id
  route_table_id = aws_route_table.servers.id
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.servers.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.servers.id]
}

resource "aws_security_group" "link" {
  name        = "${var.name}-link"
  description = "The private link of the APIs"
  vpc_id      = aws_vpc.servers.id
}

resource "aws_security_group" "machine" {
  name        = "${var.name}-servers"
  description = "MLflow and ZenML: reached by the private link alone"
  vpc_id      = aws_vpc.servers.id
}

resource "aws_vpc_security_group_egress_rule" "link" {
  for_each                     = local.ports
  security_group_id            = aws_security_group.link.id
  referenced_security_group_id = aws_security_group.machine.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_ingress_rule" "machine" {
  for_each                     = local.ports
  security_group_id            = aws_security_group.machine.id
  referenced_security_group_id = aws_security_group.link.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_egress_rule" "machine" {
  security_group_id = aws_security_group.machine.id
  description       = "Packages and AWS itself"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
