"""The live side, and the `tidal` command."""
