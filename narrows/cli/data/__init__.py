"""Data to begin with: one's own files, a small shop, a generated log."""
