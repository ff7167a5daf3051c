#!/usr/bin/env bash
# What the AWS stack stands on, made or taken away: see docs/aws.md.
#
#   infrastructure.sh servers         a ZenML server and MLflow, for those who have none
#   infrastructure.sh up              bucket, registry, roles; then stacks/aws/values.yaml
#   infrastructure.sh down            everything but the buckets and what is in them
#   infrastructure.sh down --purge    everything
#
# Variables come from the environment (TF_VAR_region and others, see the variables.tf) or from a terraform.tfvars in
# each folder. Terraform shows what it is about to do and asks; TF_CLI_ARGS_apply=-auto-approve answers beforehand.
set -euo pipefail
cd "$(dirname "$0")"

tf() {
  local folder=$1
  shift
  terraform -chdir="$folder" "$@"
}
stop() { echo "$1" >&2 && exit 2; }
resources() { tf "$1" state list 2>/dev/null || true; }

# readable FOLDER: a state that cannot be read would look like one with nothing in it, and all of it would stay.
readable() {
  local said
  said=$(tf "$1" state list 2>&1) || case $said in
  "" | *"No state file was found"*) ;;
  *) stop "$said" ;;
  esac
}

apply() {
  tf "$1" init -input=false
  tf "$1" apply
}

# What one configuration knows goes to the next.
connect() {
  if [ -z "${TF_VAR_servers:-}" ] && [ -n "$(resources servers)" ]; then
    TF_VAR_servers=$(tf servers output -json for_access)
    export TF_VAR_servers
  fi
  if [ -n "$(resources base)" ]; then
    TF_VAR_base=$(tf base output -json for_access)
    export TF_VAR_base
  fi
}

zenml_server() {
  [ -n "${ZENML_SERVER_URL:-}" ] && [ -n "${ZENML_API_KEY:-}" ] ||
    stop "Name the ZenML server in ZENML_SERVER_URL and a service account's key in ZENML_API_KEY: see docs/aws.md."
}

# take_away FOLDER: but not the buckets, their protection and, since it is part of a name, what was drawn by lot.
take_away() {
  local targets=() resource
  while read -r resource; do
    case $resource in
    *data.* | *aws_s3_bucket* | *random_id* | "") ;;
    *) targets+=("-target=$resource") ;;
    esac
  done < <(resources "$1")
  if [ ${#targets[@]} -gt 0 ]; then tf "$1" destroy "${targets[@]}"; fi
}

# purge FOLDER [BUCKET]: Terraform empties a bucket only where its state says that it may.
purge() {
  if [ -z "$(resources "$1")" ]; then return; fi
  if [ -z "${2:-}" ]; then
    tf "$1" destroy
  else
    tf "$1" apply -var keep_contents=false -target="$2"
    tf "$1" destroy -var keep_contents=false
  fi
}

[[ "${1:-} ${2:-}" =~ ^(servers |up |down (--purge)?)$ ]] || {
  sed -n '4,7s/^# *//p' "$0" >&2
  exit 2
}
export TF_VAR_region=${TF_VAR_region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-}}}
[ -n "$TF_VAR_region" ] || stop "Name the region in AWS_REGION."

case $1 in
servers)
  apply servers
  ;;
up)
  zenml_server
  connect
  [ -n "${TF_VAR_servers:-}" ] ||
    stop "There is no MLflow: run '$0 servers', or name yours: TF_VAR_servers='{\"mlflow_uri\": \"https://...\"}'."
  apply base
  connect
  apply access
  tf access output -raw values >values.yaml.new
  mv values.yaml.new values.yaml
  echo "Written: stacks/aws/values.yaml. Go on with: make stack-aws"
  ;;
down)
  for folder in access base servers; do readable "$folder"; done
  if [ -n "$(resources base)" ]; then zenml_server; fi
  connect
  if [ "${2:-}" = --purge ]; then
    purge access
    purge base module.zenml.aws_s3_bucket.artifact_store
    purge servers aws_s3_bucket.mlflow
  else
    for folder in access base servers; do take_away "$folder"; done
  fi
  rm -f values.yaml
  ;;
esac
