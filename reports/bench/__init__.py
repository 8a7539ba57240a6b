"""Tidal Bench: a frozen set of tasks that anyone's policy can be scored on, and the leaderboard."""
