"""The live part of `make demo`: real processes on this machine, for about a minute."""
