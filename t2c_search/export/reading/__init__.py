"""Pictures and pages of what is read in words."""
