"""What a race runs: one module per peer, each written the way its own documentation recommends for speed."""
