"""Benchmarks, each runnable alone (``python -m benchmarks.NAME``) and each against a peer in the same run."""
