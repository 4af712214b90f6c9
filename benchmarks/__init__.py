"""What `make bench` runs: the properties at length, and how fast everything is."""
