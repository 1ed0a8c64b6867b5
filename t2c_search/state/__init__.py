"""What a collection keeps beside its points, each kind with its key, its format and its reader in one place."""
