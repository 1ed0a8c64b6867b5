"""What people write, as a tree of constraints, and back."""
