"""Faults at random against a whole live system, and what must hold whatever they do."""
