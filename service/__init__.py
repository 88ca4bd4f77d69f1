"""Wren online: the server, the command line and everything between a request and its transcript."""

__version__ = "0.1.0"
