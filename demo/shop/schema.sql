-- The shop's data. The demo runs this once, through the writer's gateway, as the administrator; the
-- statements replicate to the standby like every other change, and can be repeated.
--
-- Accounts: Leeward's gateway is the only way to the database, and it connects from the site's own or
-- from the other site's address. So the account is not tied to a host ('%'), and what keeps strangers
-- out is that the database listens on an address that only gateways and replication reach.

CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS shop.product (
  id          INT          NOT NULL PRIMARY KEY,
  name        VARCHAR(80)  NOT NULL,
  description VARCHAR(400) NOT NULL,
  price_cents INT          NOT NULL,
  stock       INT          NOT NULL
) ENGINE = InnoDB;

-- server_id and epoch tell at which site, and under which grant of the writer lease, the order was
-- taken. They are read in the transaction that inserts the order, so they cannot be wrong about it.
CREATE TABLE IF NOT EXISTS shop.orders (
  id              BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
  client_order_id VARCHAR(64)  NOT NULL UNIQUE,
  customer        VARCHAR(80)  NOT NULL,
  placed_at       TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  server_id       INT          NOT NULL,
  epoch           BIGINT       NOT NULL,
  KEY by_customer (customer, id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS shop.order_line (
  order_id    BIGINT NOT NULL,
  product_id  INT    NOT NULL,
  quantity    INT    NOT NULL,
  price_cents INT    NOT NULL,
  PRIMARY KEY (order_id, product_id),
  FOREIGN KEY (order_id) REFERENCES shop.orders (id),
  FOREIGN KEY (product_id) REFERENCES shop.product (id)
) ENGINE = InnoDB;

INSERT IGNORE INTO shop.product VALUES
  (1, 'Storm lantern', 'Burns for twenty hours on one filling, and does not mind wind.', 3900, 1000000),
  (2, 'Sea anchor', 'Holds the bow into the waves when the engine has other plans.', 12900, 1000000),
  (3, 'Oilskin coat', 'Waxed cotton, lined, with pockets that close.', 18900, 1000000),
  (4, 'Brass barometer', 'Knows before you do.', 8400, 1000000),
  (5, 'Coil of rope', 'Thirty metres, twelve millimetres, three strands, no surprises.', 4500, 1000000),
  (6, 'Tide tables', 'Two ports, one year, large print.', 1200, 1000000);

CREATE USER IF NOT EXISTS 'shop'@'%' IDENTIFIED BY '{{shop_password}}';
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO 'shop'@'%';
-- Which grant of the lease an order was taken under.
GRANT SELECT ON leeward.* TO 'shop'@'%';
