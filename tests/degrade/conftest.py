"""What the visit asserts is explained where it fails."""

import pytest

pytest.register_assert_rewrite("tests.degrade.visit")
