"""What the mechanisms rest on: errors, precision, and changes to the libraries they use."""
