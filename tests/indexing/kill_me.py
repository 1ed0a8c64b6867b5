"""Index a folder into a store and tell how much of it the store holds; the tests kill this process.

With moments to die at on standard input, "images calls", one a line, it is the parent of runs that kill themselves: each
after so many images and then so many Python calls more; an empty line is a run to the end. It tells each run's exit code.
"""

import os
import signal
import sys

from support import index

from t2c_search.sources import list_images
from t2c_search.stores import open_store
from t2c_search.types import Failure


class TellsTheCount:
    def start(self, total: int | None, stage: str) -> None: ...

    def advance(self, images: int) -> None:
        print(store.count(), flush=True)

    def fail(self, failure: Failure) -> None: ...


class KillsItself:
    def __init__(self, images: int, calls: int) -> None:
        self.images, self.calls = images, calls

    def start(self, total: int | None, stage: str) -> None:
        self.die_in_time(0)

    def advance(self, images: int) -> None:
        self.die_in_time(images)

    def fail(self, failure: Failure) -> None: ...

    def die_in_time(self, images: int) -> None:
        self.images -= images
        if self.images <= 0:
            sys.setprofile(self.count)

    def count(self, frame: object, event: str, argument: object) -> None:
        self.calls -= 1
        if self.calls <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(location: str, folder: str, moment: list[str]) -> None:
    opened = open_store(location, "photos")
    progress = KillsItself(*map(int, moment)) if moment else None
    report = index(list_images([folder]), opened, batch_size=2, progress=progress)
    opened.close()
    print(report.unchanged, flush=True)


if __name__ == "__main__":
    location, folder = sys.argv[1:3]
    if sys.argv[3:] == ["drill"]:
        for line in sys.stdin:
            child = os.fork()  # before any store is open; what is imported already costs no time again
            if not child:
                run_until_killed(location, folder, line.split())
                os._exit(0)
            print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        store = open_store(location, "photos")
        index(list_images([folder]), store, batch_size=4, progress=TellsTheCount())
        print(store.count(), flush=True)
        sys.stdin.read()  # wait for the signal, however late it comes
