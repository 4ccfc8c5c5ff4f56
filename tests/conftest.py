"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# A property holds or not whatever else the machine is doing; pytest's time limit bounds a hanging test.
settings.register_profile("drystone", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("drystone")
