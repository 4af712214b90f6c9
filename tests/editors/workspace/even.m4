/* Der Rest, café 😀 */ policy even (HttpRequest r) on * -> f { r.Split({ v1: 50%, v2: 50% }); }
