# ZenML's module also makes a role with AmazonSageMakerFullAccess, one for its own connectors and, with a server that is
# not ZenML Pro, a user with an access key. Nothing here uses them, so they may do nothing.
data "aws_iam_policy_document" "nothing" {
  statement {
    sid       = "NotUsed"
    effect    = "Deny"
    actions   = ["*"]
    resources = ["*"]
  }
}

data "aws_iam_users" "unused" {
  count      = var.base.unused_user != null ? 1 : 0
  name_regex = "^${var.base.unused_user}$"
}

resource "aws_iam_user_policy" "unused" {
  for_each = try(data.aws_iam_users.unused[0].names, [])
  name     = "not-used"
  user     = each.key
  policy   = data.aws_iam_policy_document.nothing.json
}

resource "aws_iam_role_policy" "unused" {
  for_each = toset(var.base.unused_roles)
  name     = "not-used"
  role     = each.key
  policy   = data.aws_iam_policy_document.nothing.json
}
