"""What all tests share."""

import os

from hypothesis import settings

# A busy machine is no failure: nothing here asserts how long something took. What must pass before a change is merged
# tries the same examples each time; everywhere else new ones are tried, and a failure found so gets its own test.
settings.register_profile("flywheel", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("flywheel")
