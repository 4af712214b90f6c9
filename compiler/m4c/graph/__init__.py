"""The service graph: which services there are, and who calls whom."""
