import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telegram import pacing
from service.telegram.pacing import OVERALL, PER_CHAT, PER_GROUP, FloodGuard, Limit, Pacing, Window

# Seconds between one reservation and the next, and the chat it is for: few chats, so that they crowd.
ASKED = st.lists(
    st.tuples(
        st.floats(0, 2) | st.just(0.0) | st.floats(30, 90),
        st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1, -2, "@channel"]),
    ),
    max_size=150,
)


def most_in_any_window(times: list[float], seconds: float) -> int:
    ordered = sorted(times)
    # A rounding error less: 0.1 + 1.0 - 1.0 is not 0.1.
    return max((sum(1 for t in ordered if first <= t < first + seconds - 1e-6) for first in ordered), default=0)


@given(ASKED)
def test_no_window_ever_holds_more_than_its_limit(asked: list[tuple[float, int | str]]) -> None:
    pace, now = Pacing(), 0.0
    given_out: dict[int | str, list[float]] = {}
    for passed, chat in asked:
        now += passed
        delay = pace.reserve(chat, now)
        assert delay >= 0
        given_out.setdefault(chat, []).append(now + delay)
    everything = list(itertools.chain.from_iterable(given_out.values()))
    assert most_in_any_window(everything, OVERALL.seconds) <= OVERALL.most
    for chat, times in given_out.items():
        assert times == sorted(times), "whoever asks first in a chat goes first"
        assert most_in_any_window(times, PER_CHAT.seconds) <= PER_CHAT.most
        if not (isinstance(chat, int) and chat > 0):
            assert most_in_any_window(times, PER_GROUP.seconds) <= PER_GROUP.most


@given(st.lists(st.floats(0, 10), max_size=40), st.floats(0, 10))
def test_the_earliest_time_is_kept_and_is_the_earliest(asked: list[float], at: float) -> None:
    window = Window(Limit(3, 1.0))
    times: list[float] = []
    for one in asked:
        times.append(window.earliest(one))
        window.take(times[-1], 0.0)
    found = window.earliest(at)
    assert found >= at
    assert most_in_any_window([*times, found], 1.0) <= 3
    if found > at:
        assert most_in_any_window([*times, at], 1.0 + 2e-6) > 3


def test_a_person_gets_a_small_burst_and_then_one_a_second() -> None:
    pace = Pacing()
    assert [pace.reserve(7, 0.0) for _ in range(7)] == [0, 0, 0, 3, 3, 3, 6]


def test_a_group_gets_twenty_a_minute() -> None:
    pace = Pacing()
    times = [pace.reserve(-7, 0.0) for _ in range(21)]
    assert times[19] < 20
    assert times[20] == 60


def test_a_busy_chat_delays_no_other() -> None:
    pace = Pacing()
    assert [pace.reserve(7, 0.0) for _ in range(30)][-1] == 27
    assert pace.reserve(8, 0.0) == 0


def test_everybody_together_gets_thirty_a_second() -> None:
    pace = Pacing()
    assert [pace.reserve(chat, 0.0) for chat in range(1, 62)] == [0.0] * 30 + [1.0] * 30 + [2.0]


def test_a_delay_that_is_too_long_takes_no_time_from_others() -> None:
    pace = Pacing()
    for _ in range(3):
        pace.reserve(7, 0.0)
    assert [pace.reserve(7, 0.0, most=1.0) for _ in range(5)] == [3.0] * 5
    assert pace.reserve(7, 0.0) == 3.0


def test_silence_holds_one_chat() -> None:
    pace = Pacing()
    pace.silence(7, 10.0)
    pace.silence(7, 5.0)
    assert pace.silence_left(7, 0.0) == 10.0
    assert (pace.reserve(7, 0.0), pace.reserve(8, 0.0)) == (10.0, 0.0)
    assert pace.silence_left(7, 10.0) == 0.0


def test_idle_chats_are_forgotten() -> None:
    pace, now = Pacing(), 0.0
    for chat in range(1, 20_001):
        now += 0.04
        assert pace.reserve(chat, now) < 0.1
    assert len(pace) < 200


def test_a_person_who_floods_is_refused_and_heard_again() -> None:
    guard = FloodGuard(rate=2.0, burst=5)
    assert [guard.allows(7, 0.0) for _ in range(8)] == [True] * 5 + [False] * 3
    assert guard.allows(8, 0.0)
    assert [guard.allows(7, 0.5) for _ in range(2)] == [True, False]
    assert [guard.allows(7, 100.0) for _ in range(6)] == [True] * 5 + [False]


@given(st.lists(st.floats(0, 3), max_size=100))
def test_a_person_never_has_more_than_the_burst_and_the_rate(passed: list[float]) -> None:
    guard, now, times = FloodGuard(rate=1.0, burst=4), 0.0, []
    for one in passed:
        now += one
        if guard.allows(7, now):
            times.append(now)
    for first, last in itertools.combinations(range(len(times)), 2):
        assert last - first + 1 <= 4 + (times[last] - times[first]) + 1e-6


def test_the_flood_guard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MOST_PEOPLE", 2)
    guard = FloodGuard(rate=1.0, burst=1)
    assert [guard.allows(person, 0.0) for person in (1, 2, 2, 3)] == [True, True, False, True]
    assert not guard.allows(2, 0.0)
    assert guard.allows(1, 0.0), "the person heard of longest ago was forgotten"
