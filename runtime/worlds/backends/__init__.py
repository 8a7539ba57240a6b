"""The data planes that a world can run on."""
