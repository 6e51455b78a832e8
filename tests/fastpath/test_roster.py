"""Streams are found by id, whatever ids the other side takes."""

from tests.kit.mux_script import DATA, FIN, RST, SYN, WINDOW, Script

CELLS = 16  # of a new table; ids that are so many streams apart begin their search in one cell


def test_ids_that_share_a_cell_are_told_apart_and_forgotten_in_any_order() -> None:
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        mux = Script()
        ids = [1 + 2 * CELLS * n for n in range(3)]
        for one in ids:
            mux.peer(WINDOW, SYN, one)
        assert mux.session.state()["cells"] == CELLS
        mux.session.take()
        left = list(ids)
        for n in order:
            for one in left:
                mux.peer(DATA, 0, one, b"%d" % one)
            assert mux.events == [("data", one, b"%d" % one) for one in left]
            mux.peer(WINDOW, RST, ids[n])
            assert mux.events == [("reset", ids[n], "stream-reset")]
            left.remove(ids[n])
        mux.peer(DATA, FIN, ids[0], b"x")
        assert mux.events == []
        assert mux.session.state()["strays"] == 1
