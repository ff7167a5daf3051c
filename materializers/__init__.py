"""How artifacts live in any artifact store."""
