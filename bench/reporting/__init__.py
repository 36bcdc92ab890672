"""Tables and figures from records. Never imports torch, so any laptop can rebuild a report."""
