"""Zero-shot classes: every image to the class whose texts it is nearest to, with how sure that is where labels tell."""
