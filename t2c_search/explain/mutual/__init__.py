"""What an image's parts and a text have in common, in words: mutual knowledge (Sammani & Deligiannis, NeurIPS 2024)."""
