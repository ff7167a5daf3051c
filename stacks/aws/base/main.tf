# Bucket, registry of the step images and what ZenML itself keeps of them: ZenML's own module.
#
# It is a configuration of its own because that module asks for version 4 of the AWS provider, and a configuration has
# one version. Pinned by commit like every action in CI: a tag can be moved.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 4.67"
    }
    zenml = {
      source  = "zenml-io/zenml"
      version = "~> 3.0"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name, managed-by = "terraform" }
  }
}

provider "zenml" {} # ZENML_SERVER_URL and ZENML_API_KEY

module "zenml" {
  source = "github.com/zenml-io/terraform-aws-zenml-stack?ref=2be3864378764a42cdd4c6dbc74dcf45b06a0bc5"

  zenml_stack_name     = "${var.name}-base"
  orchestrator         = "sagemaker"
  enable_image_builder = var.codebuild
  enable_step_operator = false # steps run on the orchestrator
  enable_deployer      = false # it would bring AWSAppRunnerFullAccess along
  s3_force_destroy     = !var.keep_contents
  ecr_force_delete     = true # `make aws-down` takes step images along
}
