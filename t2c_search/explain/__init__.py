"""Why an image was found: maps of its places for each word and literal, what models know, and what two sides share."""
