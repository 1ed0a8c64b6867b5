"""Contract tests and reference evaluators: what every store and every encoder must pass."""
