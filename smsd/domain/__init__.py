"""Values and pure rules: what an org, a phone, a SIM and a ticket are. No input, no output, no clock."""
