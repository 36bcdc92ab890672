"""The linear probe of a frozen speech encoder: the baseline that a mixer must beat to be worth its cost."""
