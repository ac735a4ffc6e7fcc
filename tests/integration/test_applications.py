"""Libraries that people build on, at their normal job: django-redis, huey and rq (docs/applications.md).

What runs is run three times: on a real redis-server, which proves that the test asks the right thing, on the leader
and on a follower. What does not run yet is in `STOPPED`, by the first command that is missing. Whoever adds that
command sees its line fail, and moves it to the jobs above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import django
import pytest
import redis
from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from huey import PriorityRedisHuey, RedisHuey
from huey.exceptions import TaskLockedException
from rq import Callback, Queue, SimpleWorker
from rq.command import send_shutdown_command
from rq.job import Job, JobStatus
from rq.worker import Worker

from tests.integration.cluster import Member
from tests.support.redis_server import start_redis_server

pytestmark = [pytest.mark.processes, pytest.mark.redis]


@pytest.fixture(scope="module")
def redis_server_port() -> Iterator[int]:
    with start_redis_server() as port:
        yield port


@pytest.fixture(params=["redis-server", "leader", "follower"])
def port(request: pytest.FixtureRequest) -> int:
    """Of an empty server."""
    on_redis = request.param == "redis-server"
    port: int = (
        request.getfixturevalue("redis_server_port") if on_redis else request.getfixturevalue(request.param).port
    )
    with redis.Redis(port=port) as client:
        client.flushall()
    return port


@pytest.fixture
def connection(port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=port) as client:
        yield client


# Django: a cache, and a site that counts the visits of each session.


def count_visit(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


def log_out(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse("bye")


urlpatterns = [path("", count_visit), path("log-out", log_out)]


@pytest.fixture(scope="module")
def site() -> None:
    """Settings can be made once in a process; the one that depends on the port is overridden in `cache`."""
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["testserver"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        DJANGO_REDIS_CLOSE_CONNECTION=True,
        LOGGING_CONFIG=None,
    )
    django.setup()


@pytest.fixture
def cache(site: None, port: int) -> Iterator[Any]:
    location = f"redis://127.0.0.1:{port}/1"
    with override_settings(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}}):
        yield caches["default"]
        caches.close_all()


def test_django_cache(cache: Any) -> None:
    assert cache.set("a", {"nested": [1, "ä"]}, timeout=100)
    assert cache.get("a") == {"nested": [1, "ä"]}
    assert cache.get("missing", "else") == "else"
    assert not cache.add("a", 1)
    assert 90 < cache.ttl("a") <= 100
    assert cache.touch("a", 1000)
    assert 990 < cache.ttl("a") <= 1000
    cache.set_many({f"item:{number}": number for number in range(100)}, timeout=60)
    assert cache.get_many(["item:1", "item:99", "item:100"]) == {"item:1": 1, "item:99": 99}
    assert set(cache.iter_keys("item:*")) == {f"item:{number}" for number in range(100)}
    assert cache.delete_pattern("item:*") == 100
    assert cache.get_or_set("c", lambda: 3) == 3
    assert cache.incr("c", 4) == 7
    assert cache.decr("c") == 6
    assert cache.incr_version("c") == 2
    assert cache.get("c", version=2) == 6
    assert cache.delete("a")
    assert "a" not in cache
    assert cache.sadd("s", 1, 2) == 2
    assert cache.smembers("s") == {1, 2}
    cache.clear()
    assert cache.keys("*") == []


def test_django_lock_is_had_by_one(cache: Any) -> None:
    assert cache.lock("job", timeout=60).acquire(blocking=False)
    assert not cache.lock("job", timeout=60).acquire(blocking=False)


def test_django_sessions(cache: Any) -> None:
    visitor, other = Client(), Client()
    assert [visitor.get("/").content for _ in range(3)] == [b"1", b"2", b"3"]
    assert other.get("/").content == b"1"
    assert len(cache.keys("*")) == 2
    visitor.get("/log-out")
    assert len(cache.keys("*")) == 1
    assert visitor.get("/").content == b"1"
    assert other.get("/").content == b"2"


# huey, with blocking=False: its consumer then asks again and again.


@pytest.mark.parametrize("kind", [RedisHuey, PriorityRedisHuey])
def test_huey_tasks(port: int, kind: type[RedisHuey]) -> None:
    huey = kind(blocking=False, port=port)
    tries: list[int] = []

    @huey.task()
    def plus(a: int, b: int) -> int:
        return a + b

    @huey.task(retries=1)
    def fail_once() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("at first")
        return "then well"

    def work() -> None:
        while (task := huey.dequeue()) is not None:
            huey.execute(task)

    single, several, retried = plus(1, 2), plus.map([(1, 1), (2, 2)]), fail_once()
    chained = huey.enqueue(plus.s(1, 2).then(plus, 10))
    revoked, later = plus(5, 5), plus.schedule((1, 1), delay=3600)
    revoked.revoke()
    assert huey.pending_count() == 7
    work()
    assert single.get() == 3
    assert several.get() == [2, 4]
    assert [result.get() for result in chained] == [3, 13]
    assert retried.get() == "then well"
    assert revoked.get() is None
    assert later.get() is None
    assert huey.scheduled_count() == 1
    assert [huey.storage.incr("hits") for _ in range(2)] == [1, 2]
    with huey.lock_task("once"), pytest.raises(TaskLockedException), huey.lock_task("once"):
        pass
    huey.storage.conn.close()


def test_huey_priorities(port: int) -> None:
    huey = PriorityRedisHuey(blocking=False, port=port)
    done: list[str] = []
    task = huey.task()(done.append)
    for text, priority in (("low", 1), ("high", 9), ("middle", 5)):
        task(text, priority=priority)
    while (taken := huey.dequeue()) is not None:
        huey.execute(taken)
    assert done == ["high", "middle", "low"]
    huey.storage.conn.close()


def test_huey_consumer(port: int) -> None:
    """The real one, with its threads. (On raftkv it logs that it cannot look into the schedule: EVALSHA.)"""
    huey = RedisHuey(blocking=False, port=port)

    @huey.task()
    def double(number: int) -> int:
        return 2 * number

    results = [double(number) for number in range(20)]
    consumer = huey.create_consumer(workers=2, initial_delay=0.01, backoff=1.0, max_delay=0.01, periodic=False)
    consumer.start()
    try:
        assert [result.get(blocking=True, timeout=10) for result in results] == [2 * number for number in range(20)]
    finally:
        consumer.stop(graceful=True)
    huey.storage.conn.close()


# rq. Its jobs have to be found by name.


def plus(a: int, b: int) -> int:
    return a + b


def count_success(job: Job, connection: redis.Redis, result: Any) -> None:
    connection.incrby("successes", result)


class QuietWorker(SimpleWorker):
    """As it comes, but without the channel that tells a worker to stop: there is no publish/subscribe yet."""

    def subscribe(self) -> None:
        pass


def test_rq_queue(connection: redis.Redis) -> None:
    queue = Queue("mail", connection=connection)
    first = queue.enqueue(plus, 1, 2, meta={"sender": "me"})
    many = queue.enqueue_many([Queue.prepare_data(plus, (number, number)) for number in range(3)])
    last = queue.enqueue(plus, 3, 4, depends_on=many)
    queue.enqueue_in(timedelta(hours=1), plus, 5, 6)
    assert queue.job_ids == [job.id for job in [first, *many]]
    assert (queue.deferred_job_registry.count, queue.scheduled_job_registry.count) == (1, 1)
    assert last.get_status() == JobStatus.DEFERRED
    fetched = Job.fetch(first.id, connection=connection)
    assert (fetched.func_name, fetched.args, fetched.meta) == (f"{__name__}.plus", (1, 2), {"sender": "me"})
    fetched.meta["sender"] = "you"
    fetched.save_meta()
    assert first.get_meta() == {"sender": "you"}
    first.cancel()
    many[0].delete()
    assert queue.job_ids == [job.id for job in many[1:]]
    assert Queue.all(connection=connection) == [queue]


def test_rq_worker(connection: redis.Redis) -> None:
    """Jobs whose result nobody keeps (results are streams)."""
    queues = [Queue(name, connection=connection) for name in ("high", "low")]
    second = queues[1].enqueue(plus, 1, 1, result_ttl=0, on_success=Callback(count_success))
    first = queues[0].enqueue(plus, 2, 3, result_ttl=0, on_success=Callback(count_success))
    after = queues[0].enqueue(plus, 4, 5, result_ttl=0, on_success=Callback(count_success), depends_on=[first, second])
    worker = QuietWorker(queues, connection=connection)
    assert worker.work(burst=True, logging_level="ERROR")
    worker.refresh()
    assert (worker.successful_job_count, worker.failed_job_count) == (3, 0)
    assert connection.get("successes") == b"%d" % (2 + 5 + 9)
    assert not any(Job.exists(job.id, connection=connection) for job in (first, second, after))
    assert [len(queue) for queue in queues] == [0, 0]
    assert Worker.all(connection=connection) == []


# What stops the rest of their work: the call that does it, on a member, and the first command that is missing.


def mail(connection: redis.Redis) -> Queue:
    return Queue("mail", connection=connection)


def huey_at(connection: redis.Redis, kind: type[RedisHuey] = RedisHuey, **options: Any) -> RedisHuey:
    return kind(connection_pool=connection.connection_pool, **options)


def lock_and_release(connection: redis.Redis) -> None:
    """Django-redis hands out the lock of redis-py."""
    with connection.lock("job", timeout=60, blocking=False):
        pass


STOPPED: dict[str, tuple[str, Callable[[redis.Redis], object]]] = {
    "django-redis releases a lock": ("EVALSHA", lock_and_release),
    "huey waits for a task": ("BRPOP", lambda connection: huey_at(connection).dequeue()),
    "huey waits for an urgent task": ("BZPOPMIN", lambda connection: huey_at(connection, PriorityRedisHuey).dequeue()),
    "huey looks into its schedule": ("EVALSHA", lambda connection: huey_at(connection).read_schedule(datetime.now())),
    "huey waits for a result": (
        "BLPOP",
        lambda connection: huey_at(connection, notify_result=True).storage.wait_result("some task", timeout=10),
    ),
    "rq keeps a result": (
        "XADD",
        lambda connection: Queue("mail", is_async=False, connection=connection).enqueue(plus, 1, 2),
    ),
    "rq reads a result": ("XREVRANGE", lambda connection: mail(connection).enqueue(plus, 1, 2).return_value()),
    "rq waits for a job": ("BLMOVE", lambda connection: Queue.dequeue_any([mail(connection)], 10, connection)),
    "rq waits at two queues": ("BLPOP", lambda connection: Queue.dequeue_any([mail(connection)] * 2, 10, connection)),
    "rq empties a queue": ("EVALSHA", lambda connection: mail(connection).empty()),
    "rq stops a worker": ("PUBLISH", lambda connection: send_shutdown_command(connection, "worker")),
}


@pytest.fixture
def follower_connection(follower: Member) -> Iterator[redis.Redis]:
    with redis.Redis(port=follower.port) as client:
        client.flushall()
        yield client


@pytest.mark.parametrize("job", STOPPED)
def test_stopped(follower_connection: redis.Redis, job: str) -> None:
    missing, run = STOPPED[job]
    with pytest.raises(redis.ResponseError, match=f"unknown command '{missing}', with args beginning with: "):
        run(follower_connection)


def test_rq_worker_hears_no_commands(follower_connection: redis.Redis) -> None:
    """It subscribes in a thread of its own, and works on without."""
    with follower_connection.pubsub() as channel:
        channel.subscribe("rq:pubsub:worker")
        with pytest.raises(redis.ResponseError, match="there is no publish/subscribe yet"):
            channel.get_message(timeout=10)


def test_rq_job_whose_result_is_kept_does_not_end(follower_connection: redis.Redis) -> None:
    """It is carried out, but its end and its result (XADD) are one transaction, which is refused."""
    job = mail(follower_connection).enqueue(plus, 1, 2, on_success=Callback(count_success))
    QuietWorker([mail(follower_connection)], connection=follower_connection).work(burst=True, logging_level="CRITICAL")
    assert follower_connection.get("successes") == b"3"
    assert job.get_status() == JobStatus.STARTED


@pytest.mark.parametrize("port", ["follower"], indirect=True)
def test_django_increments_by_get_and_set(cache: Any) -> None:
    """A script here would do both at once. django-redis takes any refusal of EVAL for a number that is too large."""
    with pytest.raises(TypeError, match="NoneType"):  # on a redis-server: ValueError, from the script
        cache.incr("missing")
