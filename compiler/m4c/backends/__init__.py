"""From a plan to artifacts: addresses, and the templates of the specs. Artifacts are values; callers write them."""
