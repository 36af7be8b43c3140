"""Work through a folder: on a bounded pool of threads, under a progress bar, until Ctrl-C."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from photo2cartoon.cli.terminal import count_up

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Call `work` with each of `items`; yields the results as they come, in any order.

    At most twice as many items as threads are taken ahead, and when the caller closes the generator
    no further one is begun. An error of `work` is raised here.
    """
    pending: set[Future[Result]] = set()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.add(pool.submit(work, item))
                if len(pending) >= 2 * threads:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in pending:
                future.cancel()


def follow(
    work: Generator[Result, None, None], what: str, total: int, note: Callable[[Result], None]
) -> bool:
    """Run `work` to its end under a progress bar.

    Args:
        work: yields `total` results; it is closed in any case.
        what: the label of the bar.
        total: how many results there will be.
        note: called with each result.

    Returns:
        False if Ctrl-C ended it.
    """
    try:
        with count_up() as progress:
            bar = progress.add_task(what, total=total)
            for result in work:
                note(result)
                progress.advance(bar)
    except KeyboardInterrupt:
        return False
    finally:
        work.close()
    return True


def count_words(statuses: Iterable[str], shown: tuple[str, ...]) -> str:
    """Say how often each of `shown` occurs: `3 done, 0 skipped`."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in shown)
