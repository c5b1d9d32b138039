-- Some tables to begin with, on main.
CREATE DATABASE shop;
CREATE TABLE shop.products (
  id INT AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(100) NOT NULL,
  price DECIMAL(10, 2) NOT NULL
);
INSERT INTO shop.products (name, price) VALUES ('Signal lamp', 39.00), ('Sleeper', 12.50), ('Turnout, left', 149.90);
