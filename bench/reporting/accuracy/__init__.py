"""The accuracy table and its pictures, from predictions."""
