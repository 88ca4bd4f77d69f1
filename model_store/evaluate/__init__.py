"""Variants in, what they cost and how often they are wrong out: through the recogniser that serves, and no other."""
