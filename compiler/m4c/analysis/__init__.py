"""The analyses: exact findings about a checked program, each with a witness. One kind a file."""
