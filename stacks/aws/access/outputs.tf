output "values" {
  description = "What stacks/aws/values.yaml should say."
  value = yamlencode(merge(
    {
      region         = var.region
      bucket         = var.base.bucket
      registry       = var.base.registry
      repository     = var.base.repository
      execution_role = aws_iam_role.steps.arn
      connector      = "implicit"
      connector_role = aws_iam_role.stack.arn
      tracking_uri   = var.servers.mlflow_uri
    },
    var.base.codebuild_project == null ? {} : {
      image_builder     = "codebuild"
      codebuild_project = var.base.codebuild_project
    },
  ))
}

output "ci_role" {
  description = "What the workflows become (AWS_ROLE_ARN there); null where neither GitHub nor Jenkins was named."
  value       = try(aws_iam_role.ci[0].arn, null)
}

output "service_role" {
  description = "What the service runs as on SageMaker and Lambda."
  value       = try(aws_iam_role.service[0].arn, null)
}

output "ecs_execution_role" {
  description = "What ECS starts the service with."
  value       = try(aws_iam_role.ecs[0].arn, null)
}
