"""Which object of a rewritten pack may go, and when (S31, S32)."""

from dataclasses import replace

from drystone.domain.ids import PackId, SessionId
from drystone.domain.pack_rewrite import PackRewrite, RewriteState, doomed

ROW = PackRewrite(id="a" * 32, pack_id=PackId("b" * 32), old_object="old", new_object="new", created_at=1.0)
READER, OTHER = SessionId("c" * 32), SessionId("d" * 32)


def test_nothing_goes_while_it_is_written() -> None:
    assert doomed(ROW, frozenset()) is None


def test_an_abandoned_rewriting_never_costs_the_old_object() -> None:
    assert doomed(replace(ROW, state=RewriteState.ABANDONED), frozenset({READER})) == "new"


def test_the_old_object_goes_when_those_who_read_at_the_switch_have_ended() -> None:
    switched = replace(ROW, state=RewriteState.SWITCHED, waits_for=frozenset({READER}))
    assert doomed(switched, frozenset({READER, OTHER})) is None
    assert doomed(switched, frozenset({OTHER})) == "old"
    assert doomed(replace(switched, waits_for=frozenset()), frozenset({OTHER})) == "old"
