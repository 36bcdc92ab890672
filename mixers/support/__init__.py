"""What the mechanisms build on: errors, precision, and changes to the libraries they use."""
