"""The recipe of the mini models: everything from a seed, nothing from outside.

``python -m t2c_search.demo.train`` trains them, ``--check`` verifies that the shipped ones come from the recorded run.
"""
