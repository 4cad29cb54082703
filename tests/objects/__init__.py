"""Files in a store of objects, from a real server of S3's protocol on loopback."""
