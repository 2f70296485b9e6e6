"""The smoke of the hostile bodies: ``python tests/support/hostile_bodies.py`` is the long run."""

from hostile_bodies import mutated, run, seeds


def test_mutated_bodies_cost_no_worker_and_each_gets_a_sentence(serve_profile):
    server = serve_profile()
    done = run(server, count=300, warm_up=60)
    assert done.problems == []
    assert done.lost_workers == 0
    assert done.statuses[200]  # some mutations do no harm: the server does not refuse everything


def test_the_same_seed_makes_the_same_bodies():
    numbers = range(12)
    assert [mutated(1, n) for n in numbers] == [mutated(1, n) for n in numbers]
    assert [mutated(1, n) for n in numbers] != [mutated(2, n) for n in numbers]
    assert len({mutated(1, n)[0] for n in numbers}) == len({kind for kind, _ in seeds().values()})
