"""Random worlds in virtual time: slow and failing handlers, faults, crashes and stops, by both sources.

What holds in each of them: no update is lost, none of a lane runs beside another, an update has one run at a time, each
chat's updates are begun in order as long as nothing made one come again, and nothing runs hot.
"""

from __future__ import annotations

import copy
import pickle
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline import PollingOptions, Update, WebhookOptions
from hookline.effects import Verdict
from hookline.sim import Fault
from tests.sansio.world import BOT_ID, TOKEN, Host, World

SOURCES = st.one_of(
    st.builds(PollingOptions, concurrency=st.sampled_from([1, 3, 50])),
    st.builds(
        WebhookOptions,
        timeout=st.sampled_from([0.5, 10.0]),
        on_timeout=st.sampled_from(["throw", "cancel"]),
        concurrency=st.sampled_from([1, 3, 50]),
        max_waiting=st.sampled_from([0, 2, 1_000]),
        max_attempts=st.just(1_000),
    ),
)
FAULTS = st.sampled_from(
    [
        Fault("error", times=2, code=500),
        Fault("error", code=429, description="Too Many Requests: retry after 2", retry_after=2),
        Fault("html", code=502, times=2),
        Fault("close", times=2),
        Fault("half"),
        Fault("silent"),
        Fault("empty", code=400),
    ]
)


@given(
    source=SOURCES,
    seed=st.integers(0, 2**32),
    faults=st.lists(FAULTS, max_size=3),
    crashes=st.integers(0, 2),
    stops=st.integers(0, 1),
)
@settings(max_examples=150)
def test_nothing_is_lost_and_no_lane_runs_twice_at_once(
    source: PollingOptions | WebhookOptions, seed: int, faults: list[Fault], crashes: int, stops: int
) -> None:
    """The invariants of the module's first lines, in any world."""
    random = Random(seed)
    long = source.timeout * 3 if isinstance(source, WebhookOptions) else 5.0
    if isinstance(source, WebhookOptions) and source.on_timeout == "cancel":
        long = source.timeout * 0.9  # a run that is always cancelled would never end
    world = World(slow=lambda update: random.choice([0.0, 0.1, long]), seed=seed)
    failing = {number for number in range(25) if random.random() < 0.1}
    failed: set[int] = set()

    def fails(update: Update) -> bool:
        number = int(update.payload["text"])
        first = number in failing and update.update_id not in failed
        failed.add(update.update_id)
        return first

    world.fails = fails
    bot = world.bot(source)
    ids = []
    ends = ["crash"] * crashes + ["stop"] * stops
    random.shuffle(ends)
    for number in range(25):
        world.run(random.random() * 2)
        ids.append(world.message(str(number), user=random.randint(1, 4)))
        if faults and random.random() < 0.2:
            world.telegram.set_fault(BOT_ID, faults.pop())
        if ends and random.random() < 0.2:
            bot = _end(world, bot, ends.pop(), source)
    world.run(1_500, until=lambda: world.telegram.pending(BOT_ID) == 0 and not world.running)

    lost = set(ids) - set(world.handled) - (failed if isinstance(source, PollingOptions) else set())
    assert not lost
    assert world.telegram.pending(BOT_ID) == 0
    assert world.overlaps == []
    assert len(world.telegram.calls(BOT_ID)) < 4 * world.now + 200
    assert not any(report.verdict is Verdict.LOST for report in bot.reports)
    said = " ".join([report.text for report in bot.reports] + bot.logs)
    assert TOKEN.value.partition(":")[2] not in said


def _end(world: World, bot: Host, how: str, source: PollingOptions | WebhookOptions) -> Host:
    """End a bot's process, gracefully or not, and start another."""
    if how == "stop":
        world.tell(bot, bot.machine.stop)
        world.run(40, until=lambda: bool(bot.ended))
        assert bot.ended == [None]
    world.crash(bot)
    return world.bot(source)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda machine: pickle.loads(pickle.dumps(machine))])
@pytest.mark.parametrize("source", [PollingOptions(concurrency=5), WebhookOptions(timeout=0.5)], ids=["poll", "hook"])
def test_a_copied_machine_goes_on_the_same(duplicate: object, source: PollingOptions | WebhookOptions) -> None:
    """A bot whose machines are replaced by their copies at every step handles all the same."""
    assert callable(duplicate)
    world = World(slow=0.7)
    bot = world.bot(source)
    ids = []
    for number in range(30):
        ids.append(world.message(str(number), user=1 + number % 3))
        world.run(0.3)
        bot.machine = duplicate(bot.machine)
        world.server.machine = duplicate(world.server.machine)
        world.telegram = world.server.machine.telegram
    world.run(200, until=lambda: world.telegram.pending(BOT_ID) == 0)

    assert sorted(world.handled) == sorted(ids)
