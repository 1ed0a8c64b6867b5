"""Text constraints to hits: read an expression, plan it, run it against a store, and say how sure the answer is."""
