"""Search: which settings of a recipe give the variants that no others beat."""
