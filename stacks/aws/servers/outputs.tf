output "zenml_url" {
  description = "Where the ZenML server answers; null where it is elsewhere."
  value       = try(local.urls["zenml"], null)
}

output "mlflow_url" {
  description = "Where MLflow answers; null where it is elsewhere."
  value       = try(local.urls["mlflow"], null)
}

output "for_access" {
  description = "What the roles must know of the servers."
  value = {
    mlflow_uri    = try(local.urls["mlflow"], null)
    mlflow_bucket = aws_s3_bucket.mlflow.bucket
    machine_role  = try(aws_iam_role.machine[0].arn, null)
  }
}
