"""Items made ahead by one thread: same order, errors passed on, waiting measured."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator


class _Failure:
    """What the thread raised; also marks the end, with error None."""

    def __init__(self, error: BaseException | None):
        self.error = error


class Prefetch[T]:
    """Iterates over `items` with up to `depth` of them made in advance.

    `waited` is the sum of seconds that `next` spent waiting. Close it, or use it as a context
    manager, to end the thread early.
    """

    def __init__(self, items: Iterator[T], depth: int = 2):
        self.waited = 0.0
        self._items, self._queue = items, queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self._end: _Failure | None = None
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(_Failure(None))
        except BaseException as error:  # handed to the consumer, whatever it is
            self._put(_Failure(error))

    def _put(self, item: object) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        if self._end is None:
            begin = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - begin
            if not isinstance(item, _Failure):
                return item
            self._end = item
        if self._end.error is not None:
            raise self._end.error
        raise StopIteration

    def close(self) -> None:
        """Ends the thread; further items are not given."""
        self._closed.set()
        self._thread.join()
        self._end = self._end or _Failure(None)

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
