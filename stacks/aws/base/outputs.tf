locals {
  bucket = trimprefix(module.zenml.artifact_store.configuration["path"], "s3://")
  suffix = reverse(split("-", local.bucket))[0] # the module names everything zenml-<suffix>
}

output "for_access" {
  description = "What the roles must know of the base."
  value = {
    bucket            = local.bucket
    registry          = module.zenml.container_registry.configuration["uri"]
    repository        = module.zenml.container_registry.configuration["default_repository"]
    codebuild_project = var.codebuild ? "zenml-${local.suffix}" : null
    unused_user       = "zenml-${local.suffix}"
    unused_roles      = ["zenml-${local.suffix}", "zenml-${local.suffix}-sagemaker"]
  }
}
