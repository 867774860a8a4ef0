"""What all tests share."""

from hypothesis import settings

# A busy machine is no failure: nothing here asserts how long something took.
settings.register_profile("flywheel", deadline=None)
settings.load_profile("flywheel")
