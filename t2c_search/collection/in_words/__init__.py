"""What a collection's vectors say in words: the part of the facade that reads vectors that are stored already."""

from t2c_search.collection.in_words.auditing import Auditing
from t2c_search.collection.in_words.bottlenecks import Bottlenecks
from t2c_search.collection.in_words.classifying import Classifying
from t2c_search.collection.in_words.describing import Describing
from t2c_search.collection.in_words.mapping import Maps
from t2c_search.collection.in_words.shifting import Shifting


class InWords(Auditing, Bottlenecks, Classifying, Describing, Maps, Shifting):
    """Classes, concepts, differences and sentences read from a collection's vectors; no image is opened unless asked."""
