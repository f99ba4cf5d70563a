"""The operator's commands: what they see and what they change in the gateway's database."""
