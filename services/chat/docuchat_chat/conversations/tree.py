"""Which message of a chat follows which.

Messages are numbered in the order in which they were written. Each follows the one numbered before it, so that a chat
without branches needs nothing noted. Where that is not so, the chat's row has a pair: the number of the message that
begins a branch, and the number of the message that it follows, 0 for the beginning of the chat. Numbers are given
before an answer is there, so that what is said meanwhile follows the answer to come.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile


@dataclass(frozen=True, slots=True)
class Tree:
    """The messages of a chat by their numbers, and which of them are shown."""

    last: int = 0
    """The highest number that was given."""
    branches: tuple[tuple[int, int], ...] = ()
    """Where a message does not follow the one before it: its number and that of the one it follows, by number."""
    chosen: int | None = None
    """The end of the path that its owner chose to be shown; without a choice the newest message."""

    @property
    def head(self) -> int:
        """The end of the path that is shown, and that the next question follows."""
        return self.last if self.chosen is None else self.chosen

    def parent(self, seq: int) -> int:
        """Return the number of the message that this one follows; 0 at the beginning of the chat."""
        begun = self._branch(seq)
        return begun[1] if begun is not None and begun[0] == seq else seq - 1

    def forks(self) -> dict[int, list[int]]:
        """Return what follows those messages that a branch follows, in the order in which it was written."""
        following: dict[int, list[int]] = {}
        for begun, after in self.branches:
            if after not in following:
                following[after] = [after + 1] if after < self.last and self.parent(after + 1) == after else []
            if begun != after + 1:  # which is among them
                following[after].append(begun)
        return following

    def beside(self, seqs: Iterable[int], most: int) -> dict[int, list[int]]:
        """Return what follows the same message as each of these, itself included: of many the nearest to it."""
        forks, found = self.forks(), {}
        for seq in seqs:
            all_of_them = forks.get(self.parent(seq), [seq])
            at = bisect_left(all_of_them, seq)
            first = max(0, min(at - most // 2, len(all_of_them) - most))
            found[seq] = all_of_them[first : first + most]
        return found

    def path(self, end: int, after: int = 0) -> list[tuple[int, int]]:
        """Return the way from behind `after` to a message, as first and last numbers of its stretches."""
        stretches = takewhile(lambda stretch: stretch[1] > after, self._stretches(end))
        return [(max(first, after + 1), last) for first, last in stretches][::-1]

    def all(self, after: int = 0) -> list[tuple[int, int]]:
        """Return the stretch that all messages behind `after` are in."""
        return [(after + 1, self.last)]

    def latest(self, end: int, count: int) -> list[int]:
        """Return the last numbers, at most so many, on the way to a message, the newest first."""
        numbers = (seq for first, last in self._stretches(end) for seq in range(last, first - 1, -1))
        return list(islice(numbers, count))

    def newest_end(self, seq: int) -> int:
        """Return the newest message of all that follow this one, directly or not; itself when none does."""
        starts = [begun for begun, _ in self.branches]
        at = bisect_right(starts, seq)
        stretches = {(starts[at - 1] if at else 1): (seq, self._end_of(at))}
        for place in range(at, len(starts)):
            begun, after = self.branches[place]
            within = stretches.get(self._start_of(after))
            if within is not None and within[0] <= after <= within[1]:
                stretches[begun] = (begun, self._end_of(place + 1))
        return max(last for _, last in stretches.values())

    def _stretches(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches on the way to a message, the newest first."""
        while end > 0:
            begun = self._branch(end)
            if begun is None:
                yield 1, end
                return
            yield begun[0], end
            end = begun[1]

    def _branch(self, seq: int) -> tuple[int, int] | None:
        """Return the branch that begins at a message, or else the last that began before it."""
        at = bisect_right(self.branches, seq, key=lambda branch: branch[0])
        return self.branches[at - 1] if at else None

    def _start_of(self, seq: int) -> int:
        branch = self._branch(seq)
        return branch[0] if branch is not None else 1

    def _end_of(self, place: int) -> int:
        """Return the end of the stretch before the branch at this place of the list."""
        return self.branches[place][0] - 1 if place < len(self.branches) else self.last
