"""How properties are tried: on the same cases each time, however long one takes; HYPOTHESIS_PROFILE=explore tries others."""

import os

from hypothesis import HealthCheck, settings

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])

settings.register_profile("same", PATIENT, derandomize=True, database=None)
settings.register_profile("explore", PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
