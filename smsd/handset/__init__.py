"""The phone's side of the protocol: the reference phone behind ``smsd phone``."""
