"""The wren command."""
