"""What people who clean data sets look for, one file a kind of finding; ``run.py`` looks for them all."""
