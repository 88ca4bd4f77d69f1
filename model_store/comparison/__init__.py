"""Variants beside each other: manifests in, a page with tables and charts out."""
