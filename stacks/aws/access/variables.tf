variable "region" {
  description = "AWS region of everything, such as eu-central-1."
  type        = string
}

variable "name" {
  description = "First word of every name."
  type        = string
  default     = "diascope"
}

variable "base" {
  description = "The output for_access of ../base."
  type = object({
    bucket            = string
    registry          = string
    repository        = string
    codebuild_project = optional(string)
    unused_user       = optional(string)
    unused_roles      = optional(list(string), [])
  })
}

variable "servers" {
  description = "The output for_access of ../servers; of an MLflow elsewhere, its address alone."
  type = object({
    mlflow_uri    = string
    mlflow_bucket = optional(string)
    machine_role  = optional(string)
  })
}

variable "connector_principals" {
  description = "ARNs of further roles that may become the stack's role, such as that of a ZenML Pro workspace."
  type        = list(string)
  default     = []
}

variable "services" {
  description = "Models that are deployed, as their images are called; each gets a repository."
  type        = set(string)
  default     = ["diascope-demo"]
}

variable "targets" {
  description = "Where models may be deployed to: sagemaker, lambda, ecs."
  type        = set(string)
  default     = ["sagemaker", "lambda", "ecs"]

  validation {
    condition     = length(setsubtract(var.targets, ["sagemaker", "lambda", "ecs"])) == 0
    error_message = "A target is sagemaker, lambda or ecs."
  }
}

variable "watched_buckets" {
  description = "Buckets whose new images a function is to classify."
  type        = set(string)
  default     = []
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflows may become the role of CI; none may where null."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[\\w.-]+/[\\w.-]+$", var.github_repository))
    error_message = "The repository is OWNER/NAME."
  }
}

variable "github_environments" {
  description = "Environments of the repository whose jobs may become the role of CI."
  type        = list(string)
  default     = ["training", "production"]
}

variable "github_oidc_provider" {
  description = "ARN of GitHub's identity provider where the account has it already (it can have one only)."
  type        = string
  default     = null
}

variable "jenkins" {
  description = "Issuer of a Jenkins' identity tokens, without https://, and the subjects that may become the role of CI."
  type = object({
    issuer   = string
    subjects = list(string)
  })
  default = null
}
