"""Planners and classic autoscalers, one file each."""
