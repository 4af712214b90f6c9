policy cart-limit (HttpRequest r)
    on web -> e { }
