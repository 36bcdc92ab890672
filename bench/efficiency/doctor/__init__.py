"""Checks of the instruments against known answers, and the smallest difference they resolve."""
