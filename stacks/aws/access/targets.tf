# What a deployment does, target by target: these actions and no others.
data "aws_iam_policy_document" "to_sagemaker" {
  statement {
    sid       = "ServiceRole"
    actions   = ["iam:GetRole"]
    resources = ["${local.roles}/${var.name}-service"]
  }

  statement {
    sid       = "ServiceRoleForSageMaker"
    actions   = ["iam:PassRole"]
    resources = ["${local.roles}/${var.name}-service"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["sagemaker.amazonaws.com"]
    }
  }

  statement {
    sid = "Models"
    actions = [
      "sagemaker:AddTags", "sagemaker:CreateModel", "sagemaker:DeleteModel", "sagemaker:DescribeModel",
      "sagemaker:ListTags",
    ]
    resources = [for each in local.service_names : "${local.here.sagemaker}:model/${each}*"]
  }

  statement {
    sid = "EndpointConfigurations"
    actions = [
      "sagemaker:AddTags", "sagemaker:CreateEndpointConfig", "sagemaker:DeleteEndpointConfig",
      "sagemaker:DescribeEndpointConfig", "sagemaker:ListTags",
    ]
    resources = [for each in local.service_names : "${local.here.sagemaker}:endpoint-config/${each}*"]
  }

  statement {
    sid     = "EndpointsFromConfigurations"
    actions = ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"]
    resources = flatten([
      for each in local.service_names :
      ["${local.here.sagemaker}:endpoint/${each}*", "${local.here.sagemaker}:endpoint-config/${each}*"]
    ])
  }

  statement {
    sid = "Endpoints"
    actions = [
      "sagemaker:AddTags", "sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint",
      "sagemaker:ListTags", "sagemaker:UpdateEndpointWeightsAndCapacities", # the last for autoscaling
    ]
    resources = [for each in local.service_names : "${local.here.sagemaker}:endpoint/${each}*"]
  }

  statement {
    sid = "WithoutResources"
    actions = [
      "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
      "cloudwatch:DescribeAlarms", "sagemaker:ListEndpointConfigs", "sagemaker:ListModels",
    ]
    resources = ["*"]
  }

  statement {
    sid = "Scaling"
    actions = [
      "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:PutScalingPolicy",
      "application-autoscaling:RegisterScalableTarget",
    ]
    resources = ["${local.here["application-autoscaling"]}:scalable-target/*"]
    condition {
      test     = "StringEquals"
      variable = "application-autoscaling:service-namespace"
      values   = ["sagemaker"]
    }
  }

  statement {
    sid       = "ScalingAlarms" # autoscaling makes them in the caller's name
    actions   = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"]
    resources = ["${local.here.cloudwatch}:alarm:TargetTracking-*"]
  }

  statement {
    sid       = "FirstScalingOfTheAccount"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["${local.roles}/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"]
    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["sagemaker.application-autoscaling.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "to_lambda" {
  statement {
    sid       = "ServiceRole"
    actions   = ["iam:GetRole"]
    resources = ["${local.roles}/${var.name}-service"]
  }

  statement {
    sid       = "ServiceRoleForLambda"
    actions   = ["iam:PassRole"]
    resources = ["${local.roles}/${var.name}-service"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["lambda.amazonaws.com"]
    }
  }

  statement {
    sid = "Functions"
    actions = [
      "lambda:AddPermission", "lambda:CreateAlias", "lambda:CreateFunction", "lambda:CreateFunctionUrlConfig",
      "lambda:DeleteAlias", "lambda:DeleteFunction", "lambda:DeleteFunctionConcurrency", "lambda:GetFunction",
      "lambda:GetFunctionUrlConfig", "lambda:InvokeFunction", "lambda:ListAliases", "lambda:ListTags",
      "lambda:ListVersionsByFunction", "lambda:PublishVersion", "lambda:PutFunctionConcurrency",
      "lambda:RemovePermission", "lambda:TagResource", "lambda:UpdateAlias", "lambda:UpdateFunctionCode",
      "lambda:UpdateFunctionConfiguration", "lambda:UpdateFunctionUrlConfig",
    ]
    resources = flatten([
      for each in local.service_names :
      ["${local.here.lambda}:function:${each}", "${local.here.lambda}:function:${each}:*"]
    ])
  }
}

data "aws_iam_policy_document" "to_ecs" {
  statement {
    sid       = "ExecutionRole"
    actions   = ["iam:GetRole"]
    resources = ["${local.roles}/${var.name}-ecs-execution"]
  }

  statement {
    sid       = "ExecutionRoleForEcs"
    actions   = ["iam:PassRole"]
    resources = ["${local.roles}/${var.name}-ecs-execution"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid = "WithoutResources"
    actions = [
      "application-autoscaling:DescribeScalableTargets", "cloudwatch:DescribeAlarms", "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets", "ec2:DescribeVpcs", "ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions",
      "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancers",
      "elasticloadbalancing:DescribeTags", "elasticloadbalancing:DescribeTargetGroups", "logs:DescribeLogGroups",
    ]
    resources = ["*"]
  }

  statement {
    sid = "Services"
    actions = [
      "ecs:CreateCluster", "ecs:CreateService", "ecs:DeleteService", "ecs:DescribeClusters", "ecs:DescribeServices",
      "ecs:DescribeTasks", "ecs:RegisterTaskDefinition", "ecs:TagResource", "ecs:UpdateService",
    ]
    resources = [
      "${local.here.ecs}:cluster/${var.name}", "${local.here.ecs}:service/${var.name}/*",
      "${local.here.ecs}:task/${var.name}/*", "${local.here.ecs}:task-definition/${var.name}-*:*",
    ]
  }

  statement {
    sid       = "Tasks"
    actions   = ["ecs:ListTasks"]
    resources = ["*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["${local.here.ecs}:cluster/${var.name}"]
    }
  }

  statement {
    sid = "Balancers"
    actions = [
      "elasticloadbalancing:AddTags", "elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateLoadBalancer",
      "elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:DeleteListener",
      "elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup",
      "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyLoadBalancerAttributes",
      "elasticloadbalancing:ModifyTargetGroupAttributes", "elasticloadbalancing:SetSecurityGroups",
    ]
    resources = [
      for kind in ["loadbalancer/app/ds-*/*", "targetgroup/ds-*/*", "listener/app/ds-*/*/*"] :
      "${local.here.elasticloadbalancing}:${kind}"
    ]
  }

  statement {
    sid       = "NewSecurityGroups"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.here.ec2}:security-group/*", "${local.here.ec2}:vpc/*"]
  }

  statement {
    sid       = "NewSecurityGroupsTags"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.here.ec2}:security-group/*"]
    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateSecurityGroup"]
    }
  }

  statement {
    sid = "OwnSecurityGroups"
    actions = [
      "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup",
      "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["${local.here.ec2}:security-group/*"]
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/diascope:service"
      values   = ["false"]
    }
  }

  statement {
    sid = "Scaling"
    actions = [
      "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:PutScalingPolicy",
      "application-autoscaling:RegisterScalableTarget", "application-autoscaling:TagResource",
    ]
    resources = ["${local.here["application-autoscaling"]}:scalable-target/*"]
    condition {
      test     = "StringEquals"
      variable = "application-autoscaling:service-namespace"
      values   = ["ecs"]
    }
  }

  statement {
    sid       = "ScalingAlarms" # autoscaling makes them in the caller's name
    actions   = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"]
    resources = ["${local.here.cloudwatch}:alarm:TargetTracking-*"]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource"]
    resources = ["${local.logs}/diascope/ecs/*"]
  }

  statement {
    sid     = "FirstServiceOfTheAccount"
    actions = ["iam:CreateServiceLinkedRole"]
    resources = [
      for each in ["ecs", "elasticloadbalancing", "ecs.application-autoscaling"] :
      "${local.roles}/aws-service-role/${each}.amazonaws.com/*"
    ]
    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values = [
        for each in ["ecs", "elasticloadbalancing", "ecs.application-autoscaling"] : "${each}.amazonaws.com"
      ]
    }
  }
}
