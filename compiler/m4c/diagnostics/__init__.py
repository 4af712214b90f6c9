"""The registry of diagnostics: what each code means, how bad it is, and how to mend it."""
