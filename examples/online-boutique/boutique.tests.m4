// What the policies of Online Boutique are for, as requests with what should come of them. `m4 test` runs these.

test "synthetic load charges no card, customers do" {
    request POST "/charge" on loadgenerator -> frontend -> checkoutservice -> paymentservice;
    expect deny;
    request POST "/charge" on outside -> frontend -> checkoutservice -> paymentservice;
    expect allow, timeout = 1s;
}

test "recommendations are for beta users" {
    request GET "/recommendations" on outside -> frontend -> recommendationservice;
    expect deny, status = 403;
    request GET "/recommendations" on outside -> frontend -> recommendationservice with header["x-user-group"] = "beta";
    expect allow;
}

test "recommendations only read the catalogue" {
    request PUT "/products/7" on outside -> frontend -> recommendationservice -> productcatalogservice
        with header["x-user-group"] = "beta";
    expect deny, status = 405;
}

test "operators alone look into the store" {
    request GET "/admin" on outside -> frontend -> cartservice -> redis-cart;
    expect deny, status = 404;
    request GET "/admin" on outside -> frontend -> cartservice -> redis-cart with header["x-operator"] = "yes";
    expect allow;
}

test "partners get their price list" {
    request GET "/products" on outside -> frontend -> checkoutservice -> productcatalogservice
        with header["x-partner"] = "gold-7";
    expect header["x-price-list"] = "gold";
    request GET "/products" on outside -> frontend -> checkoutservice -> productcatalogservice;
    expect header["x-price-list"] = absent;
}
