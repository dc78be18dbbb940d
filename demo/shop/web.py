"""The web tier of the demo shop: pages for people, and the same over JSON under /api for programs.
It talks HTTP to the application tier of its own site and keeps nothing. The catalogue may be kept by a
cache for a moment, and shown for longer when the shop cannot be reached; pages with a customer's name or
the identity of an order may not.

  /products  /products/ID  /orders   pages; / is /products
  /api/products  /api/orders    passed on to the application tier
  /livez                        this process runs
  /healthz                      web, application and database work together; 503 and the reason if not
"""

import http.client
import json
import os
import sys
import urllib.parse
import uuid

import flask
import waitress

# Longer than the application waits for its database, so that its answer, not ours, reaches the client.
_REQUEST_SECONDS = 4.5
# Shorter than a probe's patience (800 ms), so that the probe learns the reason.
_HEALTH_SECONDS = 0.7
_CATALOGUE = "public, max-age=1, stale-while-revalidate=10, stale-if-error=600"
_PICTURES_SECONDS = 60
_UNAVAILABLE = "The shop cannot be reached for a moment. Nothing was ordered twice; please try again."


class AppTier:
    """HTTP to the application tier; a connection a request, as small shops do."""

    def __init__(self, host, port):
        self._host = host
        self._port = port

    def call(self, method, path, body=None, seconds=_REQUEST_SECONDS):
        """(status, decoded JSON); 503 with {"error"} when the application tier does not answer."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        try:
            payload = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body=payload, headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 503, {"error": f"application tier: {error or type(error).__name__}"}
        finally:
            connection.close()


def create(app_tier, site):
    """The Flask application. `site` is shown at the foot of each page."""
    web = flask.Flask("shop-web", root_path=os.path.dirname(os.path.abspath(__file__)))
    web.add_template_filter(lambda cents: f"{cents / 100:,.2f} €", "money")
    web.context_processor(lambda: {"site": site})
    web.config["SEND_FILE_MAX_AGE_DEFAULT"] = _PICTURES_SECONDS

    def page(template, status, **values):
        if status >= 500:
            return flask.render_template("problem.html", text=_UNAVAILABLE), status
        if status >= 400:
            return flask.render_template("problem.html", text=values["answer"]["error"]), status
        return flask.render_template(template, **values), status

    @web.get("/")
    @web.get("/products")
    def front():
        status, answer = app_tier.call("GET", "/products")
        response = flask.make_response(page("products.html", status, answer=answer))
        if status == 200:
            response.headers["Cache-Control"] = _CATALOGUE
        return response

    @web.get("/products/<int:product_id>")
    def product(product_id):
        status, answer = app_tier.call("GET", f"/products/{product_id}")
        # The order's identity is made with the form: sending the form twice orders once.
        return page("product.html", status, answer=answer, client_order_id=uuid.uuid4().hex)

    @web.post("/orders")
    def order():
        form = flask.request.form
        customer = form.get("customer", "").strip() or "guest"
        status, answer = app_tier.call("POST", "/orders", {
            "client_order_id": form.get("client_order_id", ""),
            "customer": customer,
            "product": form.get("product", type=int),
            "quantity": form.get("quantity", type=int),
        })
        if status >= 400:
            return page("problem.html", status, answer=answer)
        query = urllib.parse.urlencode({"customer": customer, "placed": answer["id"]})
        return flask.redirect(f"/orders?{query}", 303)

    @web.get("/orders")
    def orders():
        customer = flask.request.args.get("customer", "guest")
        query = urllib.parse.urlencode({"customer": customer})
        status, answer = app_tier.call("GET", f"/orders?{query}")
        return page("orders.html", status, answer=answer, customer=customer,
                    placed=flask.request.args.get("placed"))

    @web.get("/api/products")
    def api_products():
        status, answer = app_tier.call("GET", "/products")
        return flask.jsonify(answer), status

    @web.post("/api/orders")
    def api_order():
        status, answer = app_tier.call("POST", "/orders", flask.request.get_json(silent=True))
        return flask.jsonify(answer), status

    @web.after_request
    def keep_nothing_else(response):
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @web.get("/livez")
    def livez():
        return flask.jsonify({"status": "ok", "site": site})

    @web.get("/healthz")
    def healthz():
        status, answer = app_tier.call("GET", "/healthz", seconds=_HEALTH_SECONDS)
        return flask.jsonify({**answer, "site": site}), status

    return web


def _split(endpoint):
    host, port = endpoint.rsplit(":", 1)
    return host, int(port)


def main():
    host, port = _split(os.environ["SHOP_LISTEN"])
    web = create(AppTier(*_split(os.environ["SHOP_APP"])), os.environ["SHOP_SITE"])
    print(f"shop web listens on {host}:{port}", file=sys.stderr, flush=True)
    waitress.serve(web, host=host, port=port, threads=32, connection_limit=256, ident=None)


if __name__ == "__main__":
    main()
