variable "region" {
  description = "AWS region of everything, such as eu-central-1."
  type        = string
}

variable "name" {
  description = "First word of every name."
  type        = string
  default     = "diascope"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "The name takes 2 to 20 lower-case letters, digits and hyphens."
  }
}

variable "zenml" {
  description = "Whether a ZenML server runs here; false where there is one already, ZenML Pro for example."
  type        = bool
  default     = true
}

variable "mlflow" {
  description = "Whether MLflow runs here; false where there is one already."
  type        = bool
  default     = true
}

variable "instance_type" {
  description = "Of the one machine that the servers share; Arm. They take 1.2 of its 2 GiB."
  type        = string
  default     = "t4g.small"
}

variable "ami" {
  description = "Machine image; the newest Amazon Linux 2023 for Arm where null."
  type        = string
  default     = null
}

variable "volume_gb" {
  description = "Of the volume that holds both databases."
  type        = number
  default     = 20
}

variable "shell" {
  description = "Whether Session Manager may open a shell there, for repairs; AWS's policy for it reads all parameters."
  type        = bool
  default     = false
}

variable "keep_contents" {
  description = "Whether destroying stops at a bucket that is not empty."
  type        = bool
  default     = true
}
