"""``t2c explain`` and its kin: why this image."""
