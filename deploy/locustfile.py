# For a Locust master (2.12 or newer) that drives the workers of throng:
#
#     locust -f locustfile.py --master
#     throng worker -f throng.yaml --master-host <where that runs>
#
# Printed by `throng locustfile` for the scenario classroom. The workers run the
# scenario; the classes here only have its names and weights. A weight may be
# changed; the workers go by what this master orders.
import json
import uuid

import gevent
from locust import User, constant, events, task
from locust.runners import MasterRunner

TARGET = "http+poll://target:9090"  # for the page: the workers go by their throng.yaml
EVERY = 1.0  # seconds between two signs of life
LOOK = 0.2  # seconds in which workers learn of another mix of classes


class Proctor(User):
    weight = 1
    host = TARGET
    wait_time = constant(1)

    @task
    def by_throng(self):
        raise RuntimeError("users run in throng's workers: start locust with --master")



class Student(User):
    weight = 30
    host = TARGET
    wait_time = constant(1)

    @task
    def by_throng(self):
        raise RuntimeError("users run in throng's workers: start locust with --master")


test = ""


@events.test_start.add_listener
def on_test_start(environment, **_):
    global test
    test = str(uuid.uuid4())


@events.init.add_listener
def on_init(environment, **_):
    if isinstance(environment.runner, MasterRunner):
        gevent.spawn(tell, environment.runner)


def tell(runner):
    """Tell each worker which test runs and how many users of each class it has."""
    told, since = {}, EVERY
    while True:
        alive = since >= EVERY
        since = LOOK if alive else since + LOOK
        now = {}
        for worker in list(runner.clients.all):
            # As text: what reads it in the workers drops maps.
            now[worker.id] = json.dumps({"test": test, "users": dict(worker.user_classes_count)})
            if alive or told.get(worker.id) != now[worker.id]:
                runner.send_message("throng", now[worker.id], worker.id)
        told = now
        gevent.sleep(LOOK)
