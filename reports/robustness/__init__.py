"""The robustness matrix: what each trouble of a real cluster costs each policy."""
