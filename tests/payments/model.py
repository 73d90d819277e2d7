"""Money as the specification has it, in a hundred lines of dictionaries: what tests compare the tables with.

Written from the words of docs and notes and not from the code: amounts are whole cents and kopeks, a sum is summed up
anew each time, nothing is locked and nothing is remembered that could be told from what was said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["paid", "canceled", "refunded", "returned"]
Status = Literal["waiting", "applied", "ignored", "review"]


@dataclass(frozen=True)
class Order:
    number: int
    person: int
    cents: int
    kopeks: int  # what the balance gets for it


@dataclass(frozen=True)
class Said:
    """Something that a processor said. Two with different `copy` are different events about one thing."""

    order: Order
    kind: Kind
    copy: int = 0
    refund: int = 0  # its number
    cents: int = 0


@dataclass
class Hold:
    number: int
    person: int
    kopeks: int
    until: datetime
    spent: int = 0
    status: str = "held"


@dataclass
class Model:
    inbox: dict[Said, Status] = field(default_factory=dict)
    orders: dict[Order, str] = field(default_factory=dict)
    refunds: dict[tuple[Order, int], Said] = field(default_factory=dict)  # in force
    failed: set[tuple[Order, int]] = field(default_factory=set)
    holds: dict[int, Hold] = field(default_factory=dict)
    adjusted: dict[int, int] = field(default_factory=dict)

    def balance(self, person: int) -> int:
        """Everything that ever came, less what went back, what was spent and what is put aside."""
        came = sum(self.worth(order) for order in self.orders if order.person == person)
        holds = [hold for hold in self.holds.values() if hold.person == person]
        aside = sum(hold.kopeks for hold in holds if hold.status == "held")
        return came + self.adjusted.get(person, 0) - sum(hold.spent for hold in holds) - aside

    def worth(self, order: Order) -> int:
        """What an order is worth to its payer now: its credit, less the part that was given back, to half a kopek."""
        if self.orders[order] != "succeeded":
            return 0
        return order.kopeks - (2 * order.kopeks * self.given_back(order) + order.cents) // (2 * order.cents)

    def given_back(self, order: Order) -> int:
        return sum(said.cents for (of, _), said in self.refunds.items() if of == order)

    def settle(self, said: Said) -> Status:
        """What becomes of it; it is told again as often as anybody likes."""
        if self.inbox.get(said, "waiting") == "waiting":
            self.inbox[said] = "waiting"
            self.inbox[said] = getattr(self, said.kind)(said)
        return self.inbox[said]

    def paid(self, said: Said) -> Status:
        if self.orders[said.order] == "succeeded":
            return "ignored"
        self.orders[said.order] = "succeeded" if said.cents == said.order.cents else "review"
        return "applied" if said.cents == said.order.cents else "review"

    def canceled(self, said: Said) -> Status:
        if self.orders[said.order] in ("succeeded", "canceled"):
            return "ignored"
        self.orders[said.order] = "canceled"
        return "applied"

    def refunded(self, said: Said) -> Status:
        key = (said.order, said.refund)
        if self.orders[said.order] != "succeeded":
            return "waiting"
        if key in self.failed or key in self.refunds:
            return "ignored"
        if self.given_back(said.order) + said.cents > said.order.cents:
            return "review"
        self.refunds[key] = said
        return "applied"

    def returned(self, said: Said) -> Status:
        key = (said.order, said.refund)
        if self.orders[said.order] != "succeeded":
            return "waiting"
        if key in self.failed:
            return "ignored"
        self.failed.add(key)
        if self.refunds.pop(key, None) is not None:
            for other, status in self.inbox.items():
                if other.order == said.order and status == "review":
                    self.inbox[other] = "waiting"
        return "applied"

    def waiting(self) -> list[Said]:
        return [said for said, status in self.inbox.items() if status == "waiting"]

    def adjust(self, person: int, kopeks: int) -> str:
        if kopeks < 0 and self.balance(person) + kopeks < 0:
            return "InsufficientBalance"
        self.adjusted[person] = self.adjusted.get(person, 0) + kopeks
        return "done"

    def reserve(self, hold: Hold) -> str:
        known = self.holds.get(hold.number)
        if known is not None:
            same = (known.person, known.kopeks) == (hold.person, hold.kopeks)
            return known.status if same else "ReservationMismatch"
        if self.balance(hold.person) < hold.kopeks:
            return "InsufficientBalance"
        self.holds[hold.number] = hold
        return "held"

    def capture(self, number: int, kopeks: int, now: datetime) -> str:
        hold = self.holds.get(number)
        if hold is None:
            return "NotFound"
        if kopeks > hold.kopeks or (hold.status == "captured" and hold.spent != kopeks):
            return "ReservationMismatch"
        if hold.status == "captured":
            return "captured"
        if hold.status != "held" or hold.until <= now:
            return "ReservationFinished"
        hold.status, hold.spent = "captured", kopeks
        return "captured"

    def release(self, number: int) -> str:
        hold = self.holds.get(number)
        if hold is None:
            return "NotFound"
        if hold.status == "captured":
            return "ReservationFinished"
        if hold.status == "held":
            hold.status = "released"
        return hold.status

    def expire(self, now: datetime) -> str:
        for hold in self.holds.values():
            if hold.status == "held" and hold.until <= now:
                hold.status = "expired"
        return "done"
