"""Reading vectors in words: every figure beside its anchor and its control. Each module has ``measure(quick)``."""
