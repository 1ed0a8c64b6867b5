"""What people write about images: tables, annotations, text and JSON beside them, and the types of their fields."""
