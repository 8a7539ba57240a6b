"""The simulated cluster: contract, scenarios, profiles, rules, kernels, environments."""
