"""Actuators: what makes a deployment the desired one."""
