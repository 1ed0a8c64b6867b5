"""Half-spaces to hits: searches, scans, counts and selections, each verified from the vectors."""
