"""Explanations: every figure beside its baselines and its control. Each module has ``measure(quick)``."""
