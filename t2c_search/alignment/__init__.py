"""A backbone's space -> CLIP space: paired moments, the fit, the aligner and what a fit reports."""
