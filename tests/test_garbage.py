import gc

from narrows.engine.garbage import GC_THRESHOLD, rarely_collected


def test_garbage_is_sought_rarely_and_not_at_the_end():
    before = gc.get_threshold()
    gc.unfreeze()
    try:
        with rarely_collected():
            assert gc.get_threshold()[0] == GC_THRESHOLD
            assert not gc.get_freeze_count()
        assert gc.get_freeze_count()  # what is frozen is not looked through as the process ends
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
