"""Which update may run now: one at a time per lane, `concurrency` lanes at once, the oldest first.

`Lanes` does not know where updates come from nor what becomes of them; it can be used alone. An update that is already
waiting or running is known by its id (`job_of`), so that a repeated one can join it instead of running twice. The rule
that keeps it right: a lane is free only when the run before was told as finished, however it ended.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from heapq import heappop, heappush

from attrs import define

from hookline.effects import Cancel, Effect, Handle, Log
from hookline.errors import LocalProtocolError
from hookline.states import StateTable
from hookline.updates import LaneKey, Update, named


class JobState(Enum):
    """The life of one run of a handler. The value says what a state means."""

    WAITING = "its turn has not come"
    RUNNING = "the handler runs"
    CANCELLING = "the handler runs, and was told to end; nothing joins it any more"
    HELD = "the handler has ended, and the lane is not free yet"
    ENDED = "the handler has ended, or never began"


TABLE = StateTable(
    "Lanes",
    {
        JobState.WAITING: (JobState.RUNNING, JobState.ENDED),
        JobState.RUNNING: (JobState.CANCELLING, JobState.HELD, JobState.ENDED),
        JobState.CANCELLING: (JobState.ENDED,),
        JobState.HELD: (JobState.ENDED,),
        JobState.ENDED: (),
    },
)


@define
class Job:
    """One update on its way through the handler. started: when it began to run, or None."""

    number: int
    update: Update
    state: JobState = JobState.WAITING
    started: float | None = None


class Lanes:
    """Facts in, effects out: `add` and `finished` return what may run now, `cancel` what to cancel."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.running = 0
        self._jobs: dict[int, Job] = {}
        self._lanes: dict[LaneKey, deque[Job]] = {}
        self._by_update: dict[int, int] = {}
        self._ready: list[int] = []  # a heap of the jobs at the head of a lane that wait for a free slot
        self._next_job = 1

    # Reading

    @property
    def waiting(self) -> int:
        """How many updates wait for their turn."""
        return len(self._jobs) - self.running

    @property
    def free(self) -> int:
        """How many lanes more could run at once."""
        return self.concurrency - self.running

    def job_of(self, update_id: int) -> int | None:
        """The job that this update waits or runs in, unless that is being cancelled."""
        return self._by_update.get(update_id)

    def is_busy(self, lane: LaneKey) -> bool:
        """Whether an update of this lane waits or runs."""
        return lane in self._lanes

    def job(self, number: int) -> Job:
        """The job `number`; LocalProtocolError if there is none."""
        try:
            return self._jobs[number]
        except KeyError:
            raise LocalProtocolError(f"there is no job {number}, or it was already told as finished") from None

    def jobs(self) -> list[Job]:
        """All that wait or run, the oldest first."""
        return list(self._jobs.values())

    def last_work(self, grace: float, waiting: str) -> list[Log]:
        """What a stop says first, if there is anything that it waits for; waiting: what becomes of what waits."""
        running = [job.update.update_id for job in self.jobs() if job.state in (JobState.RUNNING, JobState.CANCELLING)]
        said = []
        if running:
            said.append(f"{len(running)} running, with {grace:g} s to end ({named(running)})")
        if self.waiting:
            said.append(f"{self.waiting} waiting, {waiting}")
        return [Log(f"stopping: {'; '.join(said)}")] if said else []

    # Facts and commands

    def add(self, update: Update, now: float) -> tuple[int, list[Effect]]:
        """The update's new job, and what may run now."""
        job = self._new(update)
        lane = self._lanes.get(update.lane)
        if lane is None:
            self._lanes[update.lane] = deque((job,))
            heappush(self._ready, job.number)
        else:
            lane.append(job)
        return job.number, self._start(now)

    def finished(self, number: int, now: float) -> list[Effect]:
        """The job has ended, however it did: its lane is free. Returns what may run now."""
        job = self._begun(number)
        if job.state is not JobState.HELD:
            self.running -= 1
        self._end(job)
        key = job.update.lane
        lane = self._lanes[key]
        lane.popleft()
        self._open(key, lane)
        return self._start(now)

    def held(self, number: int, now: float) -> list[Effect]:
        """The handler has ended, and its lane is kept: others may run, but nothing of that lane before `finished`."""
        job = self._begun(number)
        job.state = TABLE.move(job.state, JobState.HELD)
        self.running -= 1
        return self._start(now)

    def again(self, number: int, now: float) -> tuple[int, list[Effect]]:
        """Run the update of a held job once more, as the first of its lane: its new job, and what may run now."""
        job = self._begun(number)
        self._end(job)
        fresh = self._new(job.update)
        self._lanes[job.update.lane][0] = fresh
        heappush(self._ready, fresh.number)
        return fresh.number, self._start(now)

    def cancel(self, number: int, now: float) -> list[Effect]:
        """Cancel a job: one that waits is forgotten at once, one that runs keeps its lane until it is finished.

        Its update is no longer joined: sent again, it runs afresh, after this run.
        """
        job = self.job(number)
        if job.state is JobState.WAITING:
            self._forget(job)
            return self._start(now)
        if job.state is not JobState.RUNNING:
            return []
        job.state = TABLE.move(job.state, JobState.CANCELLING)
        self._unjoin(job)
        return [Cancel(number)]

    def forget(self, number: int) -> None:
        """Forget a job whose handler does not run: it did not begin yet, or has ended. Nothing begins in its place."""
        job = self.job(number)
        if job.state is not JobState.WAITING:
            self.running -= job.state is not JobState.HELD
        self._forget(job)

    def _new(self, update: Update) -> Job:
        job = Job(self._next_job, update)
        self._next_job += 1
        self._jobs[job.number] = job
        self._by_update[update.update_id] = job.number
        return job

    def _begun(self, number: int) -> Job:
        job = self.job(number)
        if job.state is JobState.WAITING:
            raise LocalProtocolError(f"job {number} was told as finished before it was asked for")
        return job

    # The only places that change a job's state besides `held` and `cancel`

    def _start(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while self._ready and self.running < self.concurrency:
            job = self._jobs.get(heappop(self._ready))
            if job is None:  # it was cancelled while it waited
                continue
            job.state = TABLE.move(job.state, JobState.RUNNING)
            job.started = now
            self.running += 1
            effects.append(Handle(job.number, job.update))
        return effects

    def _forget(self, job: Job) -> None:
        self._end(job)
        lane = self._lanes[job.update.lane]
        was_head = lane[0] is job
        lane.remove(job)
        if was_head:
            self._open(job.update.lane, lane)
        if len(self._ready) > 2 * len(self._lanes):  # mostly jobs that are gone
            self._ready = sorted(ready for ready in self._ready if ready in self._jobs)

    def _end(self, job: Job) -> None:
        job.state = TABLE.move(job.state, JobState.ENDED)
        del self._jobs[job.number]
        self._unjoin(job)

    def _unjoin(self, job: Job) -> None:
        if self._by_update.get(job.update.update_id) == job.number:
            del self._by_update[job.update.update_id]

    def _open(self, key: LaneKey, lane: deque[Job]) -> None:
        if lane:
            heappush(self._ready, lane[0].number)
        else:
            del self._lanes[key]
