"""What every mixer promises, and how each promise is checked. The tests and ``sbench check`` use the same checks."""
