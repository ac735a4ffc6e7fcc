"""A job queue that tells somebody about each finished job: a durable effect.

raftkv dev --machine jobs:Jobs -- --machine-options outbox=/tmp/finished.txt
redis-cli -p 7001 job.add resize-photo-1
redis-cli -p 7002 job.take worker-1           -> 1) (integer) 1  2) "resize-photo-1"
redis-cli -p 7003 job.done 1 worker-1

The line in the file is written by the leader, once the entry is committed: at least once, whoever leads. A repeat has
the same id in front, so that whoever reads the file can drop it.
"""

import msgspec
import trio

import raftkv


class Job(msgspec.Struct, frozen=True):
    task: str
    worker: str | None = None


class Jobs(raftkv.Machine):
    jobs: raftkv.Map[int, Job]
    waiting: raftkv.Map[int, bool]
    last_id: int = 0

    def __init__(self, outbox: str = "finished.txt") -> None:
        self._outbox = outbox

    @raftkv.write(name="job.add")
    def add(self, task: str) -> int:
        """Queue a task; returns the job's number."""
        self.last_id += 1
        self.jobs[self.last_id] = Job(task)
        self.waiting[self.last_id] = True
        return self.last_id

    @raftkv.write(name="job.take")
    def take(self, worker: str) -> list[object] | None:
        """The oldest waiting job as [number, task], now this worker's; null when there is none."""
        number = next(iter(self.waiting), None)
        if number is None:
            return None
        del self.waiting[number]
        self.jobs[number] = Job(self.jobs[number].task, worker)
        return [number, self.jobs[number].task]

    @raftkv.write(name="job.done")
    def done(self, number: int, worker: str) -> None:
        """A worker has finished its job."""
        job = self.jobs.get(number)
        if job is None or job.worker != worker:
            raise raftkv.Refusal(f"job {number} is not {worker}'s")
        del self.jobs[number]
        self.tell(number, job.task)

    @raftkv.read(name="job.count")
    def count(self) -> dict[str, int]:
        """How many jobs are waiting, and how many are being worked on."""
        return {"waiting": len(self.waiting), "taken": len(self.jobs) - len(self.waiting)}

    @raftkv.effect(durable=True)
    async def tell(self, number: int, task: str, *, effect_id: str) -> None:
        async with await trio.open_file(self._outbox, "a") as file:
            await file.write(f"{effect_id} job {number} is done: {task}\n")
