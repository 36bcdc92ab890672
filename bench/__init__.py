"""How the mixers are measured and trained."""
