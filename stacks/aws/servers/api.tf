# HTTPS without a domain, a certificate or a load balancer: an HTTP API for each server, privately linked to it.
resource "aws_apigatewayv2_api" "server" {
  for_each      = local.ports
  name          = "${var.name}-${each.key}"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_vpc_link" "servers" {
  count              = local.machine ? 1 : 0
  name               = var.name
  security_group_ids = [aws_security_group.link.id]
  subnet_ids         = aws_subnet.servers[*].id
}

resource "aws_service_discovery_private_dns_namespace" "servers" {
  count = local.machine ? 1 : 0
  name  = "${var.name}.internal"
  vpc   = aws_vpc.servers.id
}

resource "aws_service_discovery_service" "server" {
  for_each      = local.ports
  name          = each.key
  force_destroy = true

  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.servers[0].id
    dns_records {
      type = "SRV"
      ttl  = 60
    }
  }
}

resource "aws_service_discovery_instance" "server" {
  for_each    = local.ports
  service_id  = aws_service_discovery_service.server[each.key].id
  instance_id = "${var.name}-${each.key}"

  attributes = {
    AWS_INSTANCE_IPV4 = aws_instance.servers[0].private_ip
    AWS_INSTANCE_PORT = each.value
  }
}

resource "aws_apigatewayv2_integration" "server" {
  for_each           = local.ports
  api_id             = aws_apigatewayv2_api.server[each.key].id
  integration_type   = "HTTP_PROXY"
  integration_method = "ANY"
  connection_type    = "VPC_LINK"
  connection_id      = aws_apigatewayv2_vpc_link.servers[0].id
  integration_uri    = aws_service_discovery_service.server[each.key].arn
}

resource "aws_apigatewayv2_route" "server" {
  for_each  = local.ports
  api_id    = aws_apigatewayv2_api.server[each.key].id
  route_key = "$default"
  target    = "integrations/${aws_apigatewayv2_integration.server[each.key].id}"
}

resource "aws_apigatewayv2_stage" "server" {
  for_each    = local.ports
  api_id      = aws_apigatewayv2_api.server[each.key].id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_burst_limit = 200 # a password is not guessed quickly, and a mistake costs little
    throttling_rate_limit  = 100
  }
}
