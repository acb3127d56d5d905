"""Which message of a chat follows which: the rules, and what the database does with them."""

from __future__ import annotations

import random

from docuchat_chat.conversations.tree import Tree

_RANDOM_TREES = 200


def a_tree(choice: random.Random) -> tuple[Tree, dict[int, int]]:
    """Return a tree that grew as chats do, and what follows what."""
    parents: dict[int, int] = {}
    branches: list[tuple[int, int]] = []
    for _ in range(choice.randrange(30)):
        seq = len(parents) + 1
        after = choice.choice([seq - 1, seq - 1, choice.randrange(seq)])
        if after != seq - 1:
            branches.append((seq, after))
        parents[seq] = after
        if choice.random() < 0.5:
            parents[seq + 1] = seq
    return Tree(len(parents), tuple(branches)), parents


def test_a_tree_knows_what_follows_what() -> None:
    choice = random.Random(7)
    for _ in range(_RANDOM_TREES):
        check(*a_tree(choice))


def check(tree: Tree, parents: dict[int, int]) -> None:
    assert tree.head == len(parents) == tree.last
    forks = tree.forks()
    for seq, parent in parents.items():
        assert tree.parent(seq) == parent
        beside = [other for other, after in parents.items() if after == parent]
        assert forks.get(parent, [seq]) == beside == tree.beside([seq], 30)[seq]
        (nearest,) = tree.beside([seq], 2).values()
        assert seq in nearest and nearest == [other for other in beside if other in nearest]
        assert len(nearest) == min(2, len(beside))
        way = [seq]
        while parents[way[-1]]:
            way.append(parents[way[-1]])
        assert [n for first, last in tree.path(seq) for n in range(first, last + 1)] == way[::-1]
        assert [n for first, last in tree.path(seq, 3) for n in range(first, last + 1)] == [
            n for n in way[::-1] if n > 3
        ]
        assert tree.latest(seq, 4) == way[:4]
        following = {seq}
        for other in range(seq + 1, len(parents) + 1):
            if parents[other] in following:
                following.add(other)
        assert tree.newest_end(seq) == max(following)


def test_a_chat_without_branches_notes_nothing() -> None:
    tree = Tree(10_000)
    assert tree.path(tree.head) == tree.all() == [(1, 10_000)]
    assert tree.path(0) == [] and tree.latest(0, 5) == [] and tree.forks() == {}
    assert Tree(6, chosen=2).head == 2
