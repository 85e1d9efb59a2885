import threading

import pytest

from indexer.behind import Behind


def test_items_are_acted_on_in_order_and_all_of_them_by_the_end():
    done = []
    with Behind(done.append, depth=2) as behind:
        for n in range(50):
            behind.put(n)
    assert done == list(range(50))


def test_the_work_is_in_another_thread():
    names = []
    with Behind(lambda _: names.append(threading.current_thread().name)) as behind:
        behind.put(0)
    assert names == ["behind"]


def test_no_more_than_the_depth_waits():
    gate, first = threading.Event(), threading.Event()

    def act(n):
        first.set()
        gate.wait(10)

    def put_all(behind):
        for n in range(5):
            behind.put(n)
            put.append(n)

    put = []
    with Behind(act, depth=2) as behind:
        other = threading.Thread(target=put_all, args=(behind,))
        other.start()
        first.wait(10)
        other.join(0.2)
        assert len(put) <= 3  # one in hand, two waiting
        gate.set()
        other.join(10)
    assert put == list(range(5))
    assert behind.blocked > 0


def test_an_error_reaches_the_caller_and_nothing_after_it_is_done():
    done = []

    def act(n):
        if n == 1:
            raise ValueError("one")
        done.append(n)

    def put_all():
        with Behind(act, depth=1) as behind:
            for n in range(100):
                behind.put(n)

    with pytest.raises(ValueError, match="one"):
        put_all()
    assert done == [0]


def test_what_was_put_before_an_interruption_is_done():
    done = []

    def put_and_stop():
        with Behind(done.append, depth=8) as behind:
            for n in range(5):
                behind.put(n)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_and_stop()
    assert done == list(range(5))
