"""The demo shop against a real MariaDB and Redis, without Leeward: what it promises its customers."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pymysql
import pytest

from stormlib import layout

SHOP = layout.DEMO / "shop"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Shop:
    """The shop's two tiers, its database and its Redis on free ports of 127.0.0.1."""

    def __init__(self, directory):
        self.directory = directory
        self.ports = {name: free_port() for name in ("database", "redis", "app", "web")}
        self.processes = {}
        for name, text in (("admin", "secret-admin"), ("shop", "secret-shop")):
            (directory / name).write_text(text + "\n")

    def run(self, name, *command, **environment):
        log = open(self.directory / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen(
            [str(word) for word in command], env={**os.environ, **environment}, stdout=log, stderr=log)
        log.close()

    def start_database(self):
        self.run("database", layout.DEMO / "bin/mariadb-node.sh", "127.0.0.1", self.ports["database"],
                 self.directory / "data", 1, LEEWARD_ADMIN_PASSWORD_FILE=str(self.directory / "admin"))
        self.wait(lambda: self.sql("SELECT 1"))
        self.sql("SET GLOBAL read_only = 0")

    def start_redis(self):
        self.run("redis", layout.DEMO / "bin/redis-node.sh", "127.0.0.1", self.ports["redis"],
                 self.directory / "redis")

    def start_tiers(self):
        at = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.run("app", sys.executable, SHOP / "app.py", SHOP_LISTEN=at["app"],
                 SHOP_DATABASE=at["database"], SHOP_REDIS=at["redis"],
                 SHOP_PASSWORD_FILE=str(self.directory / "shop"))
        self.run("web", sys.executable, SHOP / "web.py", SHOP_LISTEN=at["web"], SHOP_APP=at["app"],
                 SHOP_SITE="gcp")
        self.wait(lambda: self.get("/healthz")[0] == 200)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(timeout=10)

    def sql(self, *statements):
        connection = pymysql.connect(host="127.0.0.1", port=self.ports["database"], user="leeward",
                                     password="secret-admin", autocommit=True, connect_timeout=2)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def create(self):
        text = (SHOP / "schema.sql").read_text().replace("{{shop_password}}", "secret-shop")
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        self.sql("CREATE DATABASE leeward", "CREATE TABLE leeward.epoch (epoch BIGINT PRIMARY KEY)",
                 "INSERT INTO leeward.epoch VALUES (3), (7)",
                 *[part for part in "\n".join(lines).split(";\n") if part.strip()])

    def get(self, path):
        return self.ask("GET", path)

    def order(self, identity, product=1, quantity=2):
        return self.ask("POST", "/api/orders", {"client_order_id": identity, "product": product,
                                                "quantity": quantity})

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["web"], timeout=10)
        try:
            connection.request(method, path, body and json.dumps(body),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers["Content-Type"].startswith("application/json")
            return response.status, json.loads(text) if is_json else text
        finally:
            connection.close()

    def wait(self, condition, seconds=30.0):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (OSError, http.client.HTTPException, pymysql.err.MySQLError):
                pass
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.05)

    def stock(self, product=1):
        return self.sql(f"SELECT stock FROM shop.product WHERE id = {product}")[0][0]

    def orders(self):
        return self.sql("SELECT COUNT(*) FROM shop.orders")[0][0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("shop"))
    try:
        shop.start_database()
        shop.create()
        shop.start_redis()
        shop.start_tiers()
        yield shop
    finally:
        shop.stop()


def test_an_order_is_one_transaction_and_tells_who_took_it(shop):
    stock, orders = shop.stock(), shop.orders()
    status, answer = shop.order("one")
    assert status == 201
    assert (answer["server_id"], answer["epoch"], answer["existing"]) == (1, 7, False)
    assert (shop.stock(), shop.orders()) == (stock - 2, orders + 1)


def test_asking_again_takes_the_order_once(shop):
    first = shop.order("twice")[1]
    stock, orders = shop.stock(), shop.orders()
    status, answer = shop.order("twice")
    assert status == 200 and answer == {**first, "existing": True}
    assert (shop.stock(), shop.orders()) == (stock, orders)


def test_an_order_that_cannot_be_filled_leaves_no_trace(shop):
    orders = shop.orders()
    assert shop.order("unknown", product=99)[0] == 409
    assert shop.orders() == orders


@pytest.mark.parametrize("identity, product, quantity", [
    ("", 1, 1), ("x" * 65, 1, 1), ("a", "1", 1), ("a", 1, 0), ("a", 1, 101), ("a", True, 1), (None, 1, 1)])
def test_a_wrong_order_is_a_400_that_says_why(shop, identity, product, quantity):
    status, answer = shop.order(identity, product, quantity)
    assert status == 400 and "must be" in answer["error"]


def test_a_read_only_database_is_a_503_with_its_reason(shop):
    shop.sql("SET GLOBAL read_only = 1")
    try:
        status, answer = shop.order("refused")
        assert status == 503 and "read-only" in answer["error"]
    finally:
        shop.sql("SET GLOBAL read_only = 0")
    assert shop.order("refused")[0] == 201


def test_dead_pooled_connections_cost_no_request(shop):
    assert shop.order("before")[0] == 201
    for (connection,) in shop.sql("SELECT id FROM information_schema.processlist WHERE user = 'shop'"):
        shop.sql(f"KILL {connection}")
    assert shop.order("after")[0] == 201
    assert shop.get("/healthz")[0] == 200


def test_a_frozen_database_fails_the_health_check_within_a_probe(shop):
    server = shop.processes["database"]
    server.send_signal(signal.SIGSTOP)
    try:
        shop.wait(lambda: shop.get("/healthz")[0] == 503)
        time.sleep(0.15)  # longer than an answer is reused, so that the database is asked again
        started = time.monotonic()
        status, answer = shop.get("/healthz")
        assert status == 503 and answer["error"].startswith("database: ")
        assert time.monotonic() - started < 0.8
        assert shop.get("/livez")[0] == 200
    finally:
        server.send_signal(signal.SIGCONT)
    shop.wait(lambda: shop.get("/healthz")[0] == 200)


def test_the_pages_show_products_and_orders(shop):
    assert "Storm lantern" in shop.get("/products")[1]
    assert "client_order_id" in shop.get("/products/2")[1]
    assert shop.get("/products/99")[0] == 404
    shop.ask("POST", "/api/orders", {"client_order_id": "page", "product": 2, "quantity": 1,
                                     "customer": "Ann <b>"})
    status, text = shop.get("/orders?customer=Ann%20%3Cb%3E")
    assert status == 200 and "Sea anchor" in text and "Ann &lt;b&gt;" in text


def test_a_cache_may_keep_the_catalogue_and_nothing_with_an_identity(shop):
    def cache_control(path):
        connection = http.client.HTTPConnection("127.0.0.1", shop.ports["web"], timeout=10)
        connection.request("GET", path)
        value = connection.getresponse().headers["Cache-Control"]
        connection.close()
        return value

    assert "max-age=1," in cache_control("/products")
    assert "max-age=" in cache_control("/static/shop.css")
    for path in ("/products/2", "/products/99", "/orders?customer=Ann", "/api/products", "/healthz"):
        assert cache_control(path) == "no-store", path


# Last: it ends the Redis of the module's shop.
def test_no_request_fails_when_redis_is_away(shop):
    assert shop.get("/products/1")[0] == 200
    shop.processes["redis"].send_signal(signal.SIGSTOP)
    assert shop.get("/products/1")[0] == 200
    shop.processes["redis"].kill()
    assert shop.get("/products/1")[0] == 200
    assert shop.order("without redis")[0] == 201
