spec demo {
    tier proxy;
}
