"""Why a collection's images are hits: the part of the facade that takes vectors apart."""

from t2c_search.collection.explaining.hits import ExplainingHits


class Explaining(ExplainingHits):
    """Which places of an image, and which words of an expression, made a hit what it is."""
