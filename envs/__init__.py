"""The simulated cluster: contract, scenarios, profiles, rules, kernels, environments.

Importing this registers the environment ``tidal/Serving-v0`` with Gymnasium; its code is loaded when one is made.
"""

import gymnasium

gymnasium.register(
    "tidal/Serving-v0",
    entry_point="envs.serving_env:ServingEnv",
    vector_entry_point="envs.vector_env:ServingVectorEnv",
    order_enforce=True,
)
