"""A tree of constraints, and what a collection's vectors are like, to half-spaces to look into; no store is asked."""
