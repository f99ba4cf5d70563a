"""Values and pure rules of the trade. No input, no output, no clock."""
