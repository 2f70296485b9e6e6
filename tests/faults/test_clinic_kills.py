"""Two studies whose listener is killed at each step; ``clinic_kills.py`` does hundreds."""

import os
from collections import Counter

import pytest
from clinic_kills import STEPS, STORESCU, Ordeal
from required import require

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pynetdicom", reason="needs the extra clinic")


def test_a_listener_that_is_killed_at_each_step_gives_each_study_exactly_one_result(tmp_path):
    require(bool(STORESCU), "dcmtk (Debian's package dcmtk)")
    ordeal = Ordeal(tmp_path, seed=4)
    print(ordeal.run(2))
    kinds = Counter(name.partition(":")[0] for name in ordeal.kills.elements())
    assert kinds == dict.fromkeys(["when the camera is done", *STEPS], 2)
