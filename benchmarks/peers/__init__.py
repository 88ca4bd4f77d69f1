"""Programs that run other servers' recognisers in a Python of their own. Nothing here is imported by Wren."""
