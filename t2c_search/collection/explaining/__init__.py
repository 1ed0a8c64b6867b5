"""Why a collection's images are hits: the part of the facade that takes vectors apart."""

from t2c_search.collection.explaining.comparing import Comparing
from t2c_search.collection.explaining.hits import ExplainingHits
from t2c_search.collection.explaining.knowing import Knowing


class Explaining(ExplainingHits, Knowing, Comparing):
    """Which places of an image, and which words of an expression, made a hit; and what images and texts have in common."""
