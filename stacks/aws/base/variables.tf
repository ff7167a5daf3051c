variable "region" {
  description = "AWS region of everything, such as eu-central-1."
  type        = string
}

variable "name" {
  description = "First word of every name."
  type        = string
  default     = "diascope"
}

variable "codebuild" {
  description = "Whether CodeBuild builds the step images, for machines without Docker."
  type        = bool
  default     = false
}

variable "keep_contents" {
  description = "Whether destroying stops at a bucket that is not empty."
  type        = bool
  default     = true
}
