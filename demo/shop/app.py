"""The application tier of the demo shop: a JSON API over MariaDB and Redis, both through Leeward's
gateways. It knows nothing of sites, failover or Leeward: it is what a shop has anyway.

  GET  /products                the catalogue, with stock
  GET  /products/ID             one product; counts the view
  POST /orders                  {"client_order_id", "product", "quantity", "customer"?}
  GET  /orders?customer=NAME    the customer's last orders
  GET  /livez                   the process runs
  GET  /healthz                 the database answers as well; 503 and the reason otherwise

An order is acknowledged after COMMIT and never before. Repeating a client_order_id returns the order
that exists ("existing": true), so a client that got no answer may simply ask again.

Redis holds what may be lost: a cached catalogue and view counters. No request fails when it is away.
"""

import json
import os
import sys
import threading
import time

import flask
import pymysql
import redis
import waitress

import pool

_PRODUCTS_KEY = "shop:products"
_PRODUCTS_TTL_SECONDS = 2
_ORDERS_SHOWN = 20
_DUPLICATE_KEY = 1062
_READ_ONLY = 1290

# The first statement of each transaction that writes: it tells which database, under which epoch.
_WHO_WRITES = "SELECT @@server_id AS server_id, COALESCE(MAX(epoch), 0) AS epoch FROM leeward.epoch"
_NOTHING_YET = "SELECT 1"


class Cache:
    """Redis as a convenience: after a failure it is left alone for a moment, and nobody waits."""

    _PAUSE_SECONDS = 1.0

    def __init__(self, host, port):
        self._redis = redis.Redis(host=host, port=port, socket_timeout=0.1,
                                  socket_connect_timeout=0.1, retry_on_timeout=False)
        self._lock = threading.Lock()
        self._not_before = 0.0

    def attempt(self, action, otherwise=None):
        """What action(redis) returns, or `otherwise` when Redis is away or says no."""
        with self._lock:
            if time.monotonic() < self._not_before:
                return otherwise
        try:
            return action(self._redis)
        except (redis.RedisError, OSError):
            with self._lock:
                self._not_before = time.monotonic() + self._PAUSE_SECONDS
            return otherwise


class Refusal(Exception):
    """A request that the shop declines: HTTP status and the sentence that the client gets."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Shop:
    """What the shop does, without HTTP."""

    def __init__(self, transactions, cache):
        self._pool = transactions
        self._cache = cache

    def products(self):
        cached = self._cache.attempt(lambda r: r.get(_PRODUCTS_KEY))
        if cached is not None:
            return json.loads(cached)
        query = "SELECT id, name, description, price_cents, stock FROM product ORDER BY id"
        with self._pool.transaction(query) as cursor:
            products = cursor.fetchall()
        text = json.dumps(products)
        self._cache.attempt(lambda r: r.set(_PRODUCTS_KEY, text, ex=_PRODUCTS_TTL_SECONDS))
        return products

    def product(self, product_id):
        for product in self.products():
            if product["id"] == product_id:
                views = self._cache.attempt(lambda r: r.incr(f"shop:views:{product_id}"))
                return {**product, "views": views}
        raise Refusal(404, "no such product")

    def place_order(self, client_order_id, customer, product_id, quantity):
        """The order as a dict; "existing" tells whether this call made it."""
        try:
            with self._pool.transaction(_WHO_WRITES) as cursor:
                writer = cursor.fetchone()
                order_id = self._insert(cursor, client_order_id, customer, product_id, quantity,
                                        writer)
        except pymysql.err.IntegrityError as error:
            if error.args[0] != _DUPLICATE_KEY:
                raise
            return {**self._find(client_order_id), "existing": True}
        return {"id": order_id, "client_order_id": client_order_id, "existing": False, **writer}

    @staticmethod
    def _insert(cursor, client_order_id, customer, product_id, quantity, writer):
        cursor.execute("INSERT INTO orders (client_order_id, customer, server_id, epoch)"
                       " VALUES (%s, %s, %s, %s)",
                       (client_order_id, customer, writer["server_id"], writer["epoch"]))
        order_id = cursor.lastrowid
        taken = cursor.execute("UPDATE product SET stock = stock - %s WHERE id = %s AND stock >= %s",
                               (quantity, product_id, quantity))
        if taken != 1:
            raise Refusal(409, "no such product, or not enough of it in stock")
        cursor.execute("INSERT INTO order_line (order_id, product_id, quantity, price_cents)"
                       " SELECT %s, id, %s, price_cents FROM product WHERE id = %s",
                       (order_id, quantity, product_id))
        return order_id

    def _find(self, client_order_id):
        with self._pool.transaction(_NOTHING_YET) as cursor:
            cursor.execute("SELECT id, client_order_id, server_id, epoch FROM orders"
                           " WHERE client_order_id = %s", (client_order_id,))
            return cursor.fetchone()

    def orders(self, customer):
        with self._pool.transaction(_NOTHING_YET) as cursor:
            cursor.execute(
                "SELECT o.id, o.client_order_id, o.placed_at, o.server_id, o.epoch, p.name AS product,"
                " l.quantity, l.quantity * l.price_cents AS total_cents FROM orders o"
                " JOIN order_line l ON l.order_id = o.id JOIN product p ON p.id = l.product_id"
                " WHERE o.customer = %s ORDER BY o.id DESC LIMIT %s", (customer, _ORDERS_SHOWN))
            rows = cursor.fetchall()
        return [{**row, "placed_at": row["placed_at"].isoformat()} for row in rows]


def _order_fields(body):
    """Validated fields of POST /orders; raises Refusal."""
    if not isinstance(body, dict):
        raise Refusal(400, "send a JSON object")
    client_order_id = body.get("client_order_id")
    customer = body.get("customer", "guest")
    product, quantity = body.get("product"), body.get("quantity")
    if not isinstance(client_order_id, str) or not 1 <= len(client_order_id) <= 64:
        raise Refusal(400, "client_order_id must be a text of 1 to 64 characters")
    if not isinstance(customer, str) or not 1 <= len(customer) <= 80:
        raise Refusal(400, "customer must be a text of 1 to 80 characters")
    if type(product) is not int or type(quantity) is not int or not 1 <= quantity <= 100:
        raise Refusal(400, "product must be a number, quantity a number from 1 to 100")
    return client_order_id, customer, product, quantity


def create(shop, health):
    """The Flask application over a Shop and a pool.HealthCheck."""
    api = flask.Flask("shop-app")

    @api.get("/products")
    def products():
        return flask.jsonify(shop.products())

    @api.get("/products/<int:product_id>")
    def product(product_id):
        return flask.jsonify(shop.product(product_id))

    @api.post("/orders")
    def place_order():
        order = shop.place_order(*_order_fields(flask.request.get_json(silent=True)))
        return flask.jsonify(order), 200 if order["existing"] else 201

    @api.get("/orders")
    def orders():
        return flask.jsonify(shop.orders(flask.request.args.get("customer", "guest")))

    @api.get("/livez")
    def livez():
        return flask.jsonify({"status": "ok"})

    @api.get("/healthz")
    def healthz():
        problem = health.problem()
        if problem:
            return flask.jsonify({"error": problem}), 503
        return flask.jsonify({"status": "ok"})

    @api.errorhandler(Refusal)
    def refused(error):
        return flask.jsonify({"error": str(error)}), error.status

    @api.errorhandler(pool.Busy)
    def busy(error):
        return flask.jsonify({"error": str(error)}), 503

    @api.errorhandler(pymysql.err.MySQLError)
    def database_error(error):
        unavailable = pool.connection_lost(error) or error.args[:1] == (_READ_ONLY,)
        return flask.jsonify({"error": pool.describe(error)}), 503 if unavailable else 500

    return api


def _split(endpoint):
    host, port = endpoint.rsplit(":", 1)
    return host, int(port)


def main():
    host, port = _split(os.environ["SHOP_LISTEN"])
    database_host, database_port = _split(os.environ["SHOP_DATABASE"])
    redis_host, redis_port = _split(os.environ["SHOP_REDIS"])
    with open(os.environ["SHOP_PASSWORD_FILE"], encoding="utf-8") as file:
        password = file.read().strip()

    def connect(seconds):
        return pymysql.connect(
            host=database_host, port=database_port, user="shop", password=password, database="shop",
            charset="utf8mb4", cursorclass=pymysql.cursors.DictCursor, connect_timeout=min(2, seconds),
            read_timeout=seconds, write_timeout=seconds)

    # The gateway may hold a statement while the writer moves, so an order waits longer than a probe.
    transactions = pool.Pool(lambda: connect(4), size=8, wait_seconds=4)
    health = pool.HealthCheck(lambda: connect(0.5), reuse_seconds=0.1)
    api = create(Shop(transactions, Cache(redis_host, redis_port)), health)
    print(f"shop app listens on {host}:{port}", file=sys.stderr, flush=True)
    waitress.serve(api, host=host, port=port, threads=24, connection_limit=256, ident=None)


if __name__ == "__main__":
    main()
