"""The language server of M4: converts between the protocol and `m4c.ide`, schedules, cancels."""
