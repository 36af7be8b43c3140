"""Work stops at the next stage's door once it is of no use."""

from concurrent.futures import CancelledError, Future

import pytest

from photo2cartoon.ground.errors import DeadlinePassed
from photo2cartoon.ground.ticket import Abandoned, Stage, Ticket


def test_times_add_up_by_stage_in_order() -> None:
    ticket = Ticket()
    for stage in (Stage.DECODE, Stage.DETECT, Stage.DECODE):
        with ticket.stage(stage):
            pass
    with pytest.raises(ValueError, match="poison"), ticket.stage(Stage.MATTE):
        raise ValueError("poison")
    assert list(ticket.seconds) == ["decode", "detect", "matte"]
    before = ticket.seconds[Stage.DECODE]
    ticket.add(Stage.DECODE, 1.5)
    assert ticket.seconds[Stage.DECODE] == before + 1.5
    assert ticket.milliseconds()["decode"] == round((before + 1.5) * 1000, 2)
    assert ticket.at == "matte"


def test_a_ticket_without_a_deadline_is_never_late() -> None:
    assert Ticket().left_s == float("inf")
    Ticket().check()


def test_no_stage_begins_after_the_deadline_or_for_nobody() -> None:
    late, left = Ticket(), Ticket()
    with late.stage(Stage.DECODE):
        late.due_in(0)  # passes meanwhile: what has begun ends
    left.abandon()
    for ticket, error in ((late, DeadlinePassed), (left, Abandoned)):
        with pytest.raises(error), ticket.stage(Stage.GENERATE):
            pytest.fail("it began")
        assert "generate" not in ticket.seconds


@pytest.mark.parametrize("early", [True, False], ids=["before", "while waiting"])
def test_abandoning_ends_a_wait(early: bool) -> None:
    ticket, future = Ticket(), Future[int]()
    if early:
        ticket.abandon()
    with ticket.awaiting(future):
        if not early:
            ticket.abandon()
        with pytest.raises(CancelledError):
            future.result(timeout=10)
