-- The table that has moved to the cluster `media`.
CREATE DATABASE shop;
CREATE TABLE shop.photos (
  id INT AUTO_INCREMENT PRIMARY KEY,
  product_id INT NOT NULL,
  url VARCHAR(200) NOT NULL,
  KEY (product_id)
);
INSERT INTO shop.photos (product_id, url) VALUES (1, '/photos/lamp.jpg'), (3, '/photos/turnout-left.jpg');
