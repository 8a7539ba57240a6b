"""Learned policies: networks, training recipes, export, registry."""
